"""What ``deploy/Dockerfile`` says."""

import re
from pathlib import Path

DOCKERFILE = Path(__file__).parents[2] / "deploy" / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Word and rest of each instruction, in order."""
    text = re.sub(r"\\\n\s*", " ", DOCKERFILE.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def instruction(word: str) -> str:
    """The last instruction of a kind, which is the one that counts."""
    return [rest for first, rest in instructions() if first == word][-1]


def environment() -> dict[str, str]:
    """The variables that the image sets."""
    return dict(pair.split("=", 1) for pair in instruction("ENV").split())


def copied() -> list[tuple[str, str]]:
    """From where in the project, and to where below the working directory, the last stage copies."""
    stage = instructions()[[word for word, _ in instructions()].index("WORKDIR") :]
    return [(source, target) for word, rest in stage if word == "COPY" for source, target in [rest.split()]]


def is_sent(path: str) -> bool:
    """Whether the builder gets a file or folder of the project at all."""
    ignore = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    return f"!{path}" in ignore or "*" not in ignore
