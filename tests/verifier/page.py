"""The offline page's judgement run by node, for more bundles than a browser has patience for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from tests.npm_packages import run_node

PAGE = Path(__file__).parent.parent.parent / "verifier" / "verify.html"
_ASK = """
const vm = require("vm"), ask = JSON.parse(require("fs").readFileSync(0));
const context = vm.createContext({ TextEncoder, TextDecoder, atob, btoa });
vm.runInContext(ask.script + "\\nglobalThis.judge = judge;", context);
const bytes = (text) => new Uint8Array(Buffer.from(text, "base64"));
const judged = ask.bundles.map((text) => context.judge(bytes(text), "", "", ask.witnesses, ask.policy));
console.log(JSON.stringify(judged));
"""


def judged(bundles: Sequence[str], witnesses: Sequence[str] = (), policy: str = "") -> list[dict[str, Any]]:
    """Returns the page's reports on bundles (base64)."""
    script = "\n".join(re.findall(r"<script>(.*?)</script>", PAGE.read_text(), re.DOTALL))
    question = {"script": script, "bundles": list(bundles), "witnesses": list(witnesses), "policy": policy}
    return cast("list[dict[str, Any]]", run_node(PAGE.parent, _ASK, question))
