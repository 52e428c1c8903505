"""Read figures out of a server's metrics."""

from prometheus_client.parser import text_string_to_metric_families


def total(metrics: str, name: str, **labels: str) -> float:
    """Return the sum of the samples with this name and these labels in a text of Prometheus' format."""
    families = text_string_to_metric_families(metrics)
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())
