from ttscaling.public import *  # noqa: F403
