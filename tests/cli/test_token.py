"""``everwire token``: making and checking tokens; ``everwire serve --config``."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import httpx
import pytest
from commands import everwire

SECRET = "a secret of more than thirty-two bytes"
CONFIG = f"""
[token]
hmac_secret_key = "{SECRET}"
[api]
key = "k"
[channel.without_namespace]
history = 10
"""


def run(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    with everwire(*args, env=environ) as program:
        code = program.wait()
        return subprocess.CompletedProcess(args, code, program.output)


def test_tokens_are_made_and_checked(tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_text(CONFIG)
    by_config = ["--config", str(tmp_path / "hub.toml")]
    made = run("token", "connection", "--user", "42", "--expires", "1h", "--info", '{"n": 1}', *by_config)
    assert made.returncode == 0
    token = made.stdout.strip().removesuffix("end").strip()
    checked = run("token", "check", token, "--secret", SECRET)
    assert checked.returncode == 0 and "a connection token of '42'" in checked.stdout
    made = run(
        "token", "subscription", "--user", "7", "--channel", "news", EVERWIRE_TOKEN_HMAC_SECRET_KEY=SECRET
    )
    token = made.stdout.strip()
    checked = run("token", "check", token, *by_config)
    assert "a subscription token of '7' to the channel 'news'" in checked.stdout
    wrong = run("token", "check", token, "--secret", "x" * 40)
    assert wrong.returncode == 1 and "not valid" in wrong.stdout


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["connection"], "there is no key"),
        (["check", "--secret", SECRET], "say which token"),
        (["connection", "x", "--secret", SECRET], "is given to be checked only"),
        (["subscription", "--secret", SECRET], "a subscription is to one channel"),
        (["connection", "--expires", "soon", "--secret", SECRET], "expected a duration"),
        (["connection", "--info", "{", "--secret", SECRET], "is no JSON"),
        (["connection", "--config", "no.toml"], "No such file"),
    ],
)
def test_wrong_usage(args: list[str], says: str) -> None:
    done = run("token", *args)
    assert done.returncode == 2
    assert says in " ".join(done.stdout.replace("│", " ").split())


def test_a_hub_is_served_as_a_file_says(tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text(CONFIG)
    assert run("serve", "--config", str(file), "--check").returncode == 0
    with everwire("serve", "--config", str(file), "--port", "0", "--insecure") as program:
        url = program.wait_for(r"(http://[\d.:]+)/")[1]
        program.wait_for("insecure")
        program.wait_for(r"serves hub\.toml")
        program.wait_for(r"ws://[\d.:]+/connection/websocket  its WebSockets")
        answer = httpx.post(f"{url}/api/publish", content=json.dumps({"channel": "a", "data": 1}))
        assert answer.json()["result"]["offset"] == 1
        program.send_signal(signal.SIGTERM)
        assert program.wait() == 0
    file.write_text(CONFIG + "histroy = 1\n")
    wrong = run("serve", "--config", str(file), "--check")
    assert wrong.returncode == 2 and "did you mean" in wrong.stdout
