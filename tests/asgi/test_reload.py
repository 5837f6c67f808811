"""Starting anew when files change."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from asgi.programs import APP, get, hosting, open_socket


def test_a_change_is_served(tmp_path: Path) -> None:
    """A broken file, too, is only waited for; a request that comes meanwhile waits."""
    with hosting(tmp_path, "--reload") as (program, url), open_socket(url) as ws:
        assert "starts anew when Python files in . change" in program.output
        assert get(url) == "first"
        main = tmp_path / "main.py"
        main.write_text(APP.replace("first", "second"))
        program.wait_for("main.py changed: starting anew")
        with pytest.raises(Exception, match="1012"):
            ws.recv(timeout=20)
        assert get(url) == "second"
        main.write_text("import nothing_like_it\n" + APP)
        program.wait_for("main cannot be imported: ModuleNotFoundError: No module named 'nothing_like_it'")
        program.wait_for("the application has ended; it is started anew when a file changes")
        main.write_text(APP.replace("first", "third"))
        assert get(url) == "third"
        # What is no Python is not watched.
        (tmp_path / "notes.txt").touch()
        (tmp_path / "helper.py").touch()
        program.wait_for("helper.py changed")
        assert "notes.txt" not in program.output
        assert get(url) == "third"
        assert program.stop(signal.SIGINT) == 0


def test_other_directories(tmp_path: Path) -> None:
    watched = tmp_path / "watched"
    watched.mkdir()
    folder = tmp_path / "app"
    folder.mkdir()
    with hosting(folder, "--reload", "--reload-dir", watched) as (program, url):
        assert get(url) == "first"
        (folder / "main.py").touch()
        (watched / "new.py").touch()
        program.wait_for(r"WARNING: +\S*watched/new.py changed")
        assert get(url) == "first"
        assert "main.py changed" not in program.output
