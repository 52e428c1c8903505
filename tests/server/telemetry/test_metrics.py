"""The metrics of several engines in one valid text."""

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from server.telemetry.metrics import Metrics, render


def test_the_same_metric_of_two_engines_is_written_once():
    registries = []
    for name, count in (("policy", 2), ("critic", 3)):
        registry = CollectorRegistry()
        Counter("vllm:things", "Things.", ("model_name",), registry=registry).labels(name).inc(count)
        registries.append(registry)
    text = render(registries).decode()
    assert text.count("# TYPE vllm:things_total counter") == 1
    (family,) = [f for f in text_string_to_metric_families(text) if f.name == "vllm:things"]
    totals = {
        sample.labels["model_name"]: sample.value for sample in family.samples if "total" in sample.name
    }
    assert totals == {"policy": 2, "critic": 3}


def test_every_metric_of_ours_has_our_prefix_and_each_app_its_own():
    first, second = Metrics(), Metrics()
    first.media.frames.inc()
    families = list(text_string_to_metric_families(second.render().decode()))
    assert families and all(family.name.startswith("internvl3_") for family in families)
    assert b"internvl3_video_frames_total 0.0" in second.render()
