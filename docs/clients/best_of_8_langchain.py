"""The best of eight answers about an image, streamed, with LangChain's ChatOpenAI:

    pip install langchain-openai
    python best_of_8_langchain.py http://127.0.0.1:8000/v1 nano image.png "What is the sum of row 1?"

Prints the winner's text as it comes, then one line of JSON: the text and the tokens.
"""

import base64
import json
import sys
from pathlib import Path

from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI

base_url, model, image, question = sys.argv[1:]
url = "data:image/png;base64," + base64.b64encode(Path(image).read_bytes()).decode()
chat = ChatOpenAI(
    base_url=base_url,
    api_key="none",
    model=model,
    max_tokens=64,
    seed=7,
    stream_usage=True,
    extra_body={"best_of": 8},  # or model "nano:bo8" and no extra_body
)
content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question}]

reply = None
for chunk in chat.stream([HumanMessage(content=content)]):
    print(chunk.content, end="", flush=True)
    reply = chunk if reply is None else reply + chunk
print()
print(json.dumps({"text": reply.content, "usage": reply.usage_metadata}))
