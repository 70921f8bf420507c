"""Python's logging as a run uses it: bare messages in the terminal, dated ones in `<task>.log`."""

from typing import Any

JOB_LOGGING: dict[str, Any] = {
    "version": 1,
    "formatters": {
        "terminal": {"format": "%(message)s"},
        "file": {"format": "[%(asctime)s][%(name)s][%(levelname)s] %(message)s"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "terminal",
            "level": "INFO",
            "stream": "ext://sys.stderr",
        },
        "file": {
            "class": "logging.FileHandler",
            "formatter": "file",
            "filename": "${hydra.runtime.output_dir}/${hydra.job.name}.log",
            "encoding": "utf-8",
            "errors": "backslashreplace",
        },
    },
    "root": {"level": "INFO", "handlers": ["console", "file"]},
    # A failed run's traceback: in the file, not in the terminal.
    "loggers": {"common.launch.job": {"level": "DEBUG"}},
    "disable_existing_loggers": False,
}
"""`hydra.job_logging`: what a job logs goes to the terminal and to the run's folder."""

QUIET_LOGGING: dict[str, Any] = {
    "version": 1,
    "formatters": {"terminal": {"format": "%(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "terminal", "stream": "ext://sys.stderr"}},
    "root": {"level": "WARNING", "handlers": ["console"]},
    "disable_existing_loggers": False,
}
"""`hydra.hydra_logging`: before a job starts, only warnings are worth a line."""
