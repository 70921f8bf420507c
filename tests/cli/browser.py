"""Opens a page in headless Chromium, and tells what it logged, asked for, and how wide it became."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--enable-logging=stderr",
    "--allow-file-access-from-files",
    "--virtual-time-budget=3000",
)

TIMEOUT_S = 120

FRAME = """<!DOCTYPE html><body style="margin:0"><iframe src="{page}" width="{width}" height="2000"></iframe><script>
addEventListener("load", () => setTimeout(() => {{
  const page = document.querySelector("iframe").contentDocument;
  console.log("WIDTH " + page.documentElement.scrollWidth + " CHARTS " + page.querySelectorAll(".main-svg").length);
}}, 1000));
</script>"""
"""Holds a page in a frame of a phone's width: a window cannot be made as narrow."""


@dataclass
class Visit:
    """What opening a page did.

    Attributes:
        messages: What the page wrote to the console, errors included.
        addresses: What was asked for over the network.
        width: How wide the content became, in pixels.
        num_charts: How many drawings there are.
    """

    messages: list[str]
    addresses: list[str]
    width: int
    num_charts: int


def visit(page: Path, width: int, folder: Path, *, is_dark: bool) -> Visit:
    """Opens a page in a frame of a given width.

    Args:
        page: The HTML file.
        width: The frame's width in pixels.
        folder: For the browser's own files.
        is_dark: Whether the reader prefers dark pages.
    """
    assert CHROMIUM is not None
    frame, network = folder / "frame.html", folder / "network.json"
    frame.write_text(FRAME.format(page=page.as_uri(), width=width))
    scheme = f"--blink-settings=preferredColorScheme={0 if is_dark else 1}"
    own = [f"--user-data-dir={folder / 'profile'}", f"--log-net-log={network}", scheme, "--dump-dom"]
    words = [CHROMIUM, *OPTIONS, *own, frame.as_uri()]
    result = subprocess.run(words, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    logged = re.findall(r"CONSOLE[^\]]*\] \"(.*)\", source", result.stderr)
    measured = [re.fullmatch(r"WIDTH (\d+) CHARTS (\d+)", line) for line in logged]
    found = [match for match in measured if match]
    assert found, result.stderr
    messages = [line for line, match in zip(logged, measured, strict=True) if match is None]
    return Visit(messages, addresses_in(network), int(found[0][1]), int(found[0][2]))


def addresses_in(network_log: Path) -> list[str]:
    """Returns the addresses that pages asked for over the network, by the browser's log; its own requests are none."""
    text = network_log.read_text()
    events = json.loads(text if text.rstrip().endswith("}") else text.rstrip().rstrip(",") + "]}")["events"]
    asked = [event["params"] for event in events if {"url", "initiator"} <= event.get("params", {}).keys()]
    by_pages = [str(params["url"]) for params in asked if params["initiator"] != "not an origin"]
    return sorted({address for address in by_pages if re.match(r"(https?|wss?):", address)})
