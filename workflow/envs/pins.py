"""Write the pins of requirements.txt into the conda environment of the rules, below its line `- pip:`."""

from pathlib import Path

HERE = Path(__file__).resolve().parent


def pins() -> list[str]:
    """The requirements, without comments."""
    lines = (HERE.parents[1] / "requirements.txt").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def environment(text: str) -> str:
    """The environment file `text` with today's pins."""
    head, mark, _ = text.partition("  - pip:\n")
    return head + mark + "".join(f"      - {pin}\n" for pin in pins())


if __name__ == "__main__":
    path = HERE / "squeezebench.yaml"
    path.write_text(environment(path.read_text()))
