"""Run requests through a vLLM engine in a separate process, because engines share global state.

Called as `python -m tests.model.engine_driver SPEC RESULT`; both are JSON files. SPEC has `engine` (arguments
of `vllm.LLM`), `steps` (tokens to generate) and `rounds`, a list of batches of {prompt, images, options}.
RESULT has, for each round and request, the `tokens`, their top `logprobs` and how many prompt tokens were
`cached`; and the number of `preemptions`.
"""

import json
import sys
from pathlib import Path

from tests.model.engine_series import answer, prompt


def main(spec_path: str, result_path: str) -> None:
    from vllm import LLM, SamplingParams

    spec = json.loads(Path(spec_path).read_text())
    llm = LLM(**spec["engine"], disable_log_stats=False)
    sampling = SamplingParams(temperature=0, max_tokens=spec["steps"], logprobs=5, ignore_eos=True)
    rounds = []
    for requests in spec["rounds"]:
        outputs = llm.generate([prompt(request) for request in requests], sampling, use_tqdm=False)
        rounds.append([answer(output.outputs[0], output) for output in outputs])
    preemptions = sum(
        metric.value for metric in llm.get_metrics() if metric.name.startswith("vllm:num_preemptions")
    )
    Path(result_path).write_text(json.dumps({"rounds": rounds, "preemptions": preemptions}))


if __name__ == "__main__":
    main(*sys.argv[1:])
