"""Run `internvl3 train` as a module, for `accelerate launch -m ttscaling.train` and torch's launcher."""

from .cli import app

if __name__ == "__main__":
    app(prog_name="internvl3 train")
