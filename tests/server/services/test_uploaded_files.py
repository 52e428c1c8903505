"""A request may name the files that its API key has uploaded, and no others."""

from pathlib import Path
from typing import Any

from tests.server.apps import question
from tests.server.http.test_files import bearer, files_client, key_file, refusal, upload
from tests.server.media.test_loader import encoded

CHAT = "/v1/chat/completions"


def about(file_id: str) -> dict[str, Any]:
    content = [{"type": "file", "file": {"file_id": file_id}}, {"type": "text", "text": "What is it?"}]
    return question(messages=[{"role": "user", "content": content}])


async def test_only_the_key_that_uploaded_a_file_can_use_it(tmp_path: Path):
    async with files_client(tmp_path, api_keys=key_file(tmp_path)) as client:
        created = (await upload(client, encoded("PNG"), "x.txt", bearer("first"))).json()
        body = about(created["id"])
        assert (await client.post(CHAT, json=body, headers=bearer("first"))).status_code == 200
        for path, sent in ((CHAT, body), ("/v1/chat/completions/render", body), ("/tokenize", body)):
            reply = await client.post(path, json=sent, headers=bearer("second"))
            error = refusal(reply, 400, "file_not_found")
            assert error["param"] == "messages[0].content[0].file.file_id"
        await client.delete(f"/v1/files/{created['id']}", headers=bearer("first"))
        refusal(await client.post(CHAT, json=body, headers=bearer("first")), 400, "file_not_found")
