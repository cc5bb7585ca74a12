"""The client commands against the real app; only the engine is one for tests."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from shared.status import JobStatus
from tests.support.engines import DivergingEngine, SteadyEngine
from tests.support.ports import free_port
from web.cli.main import main

_ID = "01a21962-e425-72ca-9dac-45aac3e77629"
_FEW = ("-O", "steps=20", "-O", "checkpoint_every=5")


def test_submit_and_wait_leaves_the_picture_that_the_job_names(service, atelier, pictures, tmp_path):
    service.work(SteadyEngine())
    out = tmp_path / "out.png"
    result = atelier("submit", *pictures, *_FEW, "--name", "my [bold]job[/]", "-o", out)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{out}\n"
    assert "my [bold]job[/]: step 20/20, loss 1" in result.stderr
    assert "/docs#untrained-weights" in result.stderr
    assert "succeeded in" in result.stderr
    job = json.loads(atelier("list", "--json").stdout)["jobs"][0]
    assert hashlib.sha256(out.read_bytes()).hexdigest() == job["outputs"][0]["sha256"]
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


def test_json_is_one_document_and_nothing_else(service, atelier, pictures, tmp_path):
    service.work(SteadyEngine())
    submitted = json.loads(atelier("submit", *pictures, *_FEW, "--wait", "--json").stdout)
    assert submitted["status"] == "succeeded"
    assert submitted["options"]["steps"] == 20
    for words in (
        ("status", submitted["id"]),
        ("watch", submitted["id"]),
        ("list",),
        ("download", submitted["id"], "-o", tmp_path),
    ):
        assert isinstance(json.loads(atelier(*words, "--json").stdout), dict)
    refused = atelier("cancel", submitted["id"], "--json")
    assert refused.exit_code == 2
    assert json.loads(refused.stdout)["error"]["code"] == "invalid_state"


def test_submit_without_wait_prints_the_id_and_list_and_status_find_it(atelier, pictures):
    job_id = atelier(
        "submit", *pictures, "--name", "one", "--label", "set=a", "--label", "n=1"
    ).stdout.strip()
    other = atelier("submit", *pictures, "--label", "set=b").stdout.strip()
    assert job_id in atelier("list").stdout
    assert "one" in atelier("list", "--label", "set=a", "--status", "queued").stdout
    assert other not in atelier("list", "--label", "set=a").stdout
    assert len(json.loads(atelier("list", "--limit", "1", "--json").stdout)["jobs"]) == 1
    assert "no such jobs" in atelier("list", "--status", "failed").stderr
    shown = atelier("status", job_id).stdout
    assert job_id in shown
    assert "queued" in shown
    assert "set:a" in shown
    assert "n:1" in shown


def test_a_list_longer_than_a_page_is_read_to_its_end(atelier, pictures):
    ids = [atelier("submit", *pictures).stdout.strip() for _ in range(3)]
    listed = json.loads(atelier("list", "--json", "--limit", "2").stdout)["jobs"]
    assert [job["id"] for job in listed] == ids[:0:-1]


def test_cancel_while_it_runs_and_watch_ends_with_3(service, atelier, pictures, gate):
    service.work(SteadyEngine(gate))
    job_id = atelier("submit", *pictures, *_FEW).stdout.strip()
    assert gate.reached.wait(20)
    service.wait_for(job_id, JobStatus.RUNNING)
    assert atelier("cancel", job_id).stdout.strip() == "canceling"
    gate.opened.set()
    watched = atelier("watch", job_id)
    assert watched.exit_code == 3
    assert watched.stdout.strip() == "canceled"
    no_picture = atelier("download", job_id)
    assert no_picture.exit_code == 2
    assert "is canceled: it has no picture" in no_picture.stderr


def test_a_failed_job_says_why_and_what_to_do_and_ends_with_1(service, atelier, pictures):
    service.work(DivergingEngine())
    result = atelier("submit", *pictures, *_FEW, "--wait")
    assert result.exit_code == 1
    assert "the style loss is nan at step 3" in result.stderr
    assert "a lower learning rate" in result.stderr
    assert "Traceback" not in result.output


def test_a_service_that_comes_back_is_waited_for(service, atelier, pictures, gate):
    service.work(SteadyEngine(gate))
    job_id = atelier("submit", *pictures, *_FEW).stdout.strip()
    assert gate.reached.wait(20)
    service.asked.clear()

    def restart() -> None:
        assert service.asked.wait(20)
        service.shut()
        gate.opened.set()
        service.wait_for(job_id, JobStatus.SUCCEEDED)
        service.open()

    restarting = threading.Thread(target=restart)
    restarting.start()
    result = atelier("watch", job_id)
    restarting.join()
    assert result.exit_code == 0, result.stderr


def test_a_service_that_stays_away_ends_with_4(pictures):
    url = f"http://127.0.0.1:{free_port()}"
    for words in (["submit", *pictures], ["status", _ID], ["watch", _ID, "--timeout", "0.3"], ["list"]):
        result = CliRunner().invoke(main, [*words, "--url", url])
        assert result.exit_code == 4
        assert f"the service at {url} cannot be reached" in result.stderr
        assert "atelier up" in result.stderr


def test_what_the_service_refuses_is_said_once_and_ends_with_2(atelier, pictures, tmp_path):
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    refused = atelier("submit", pictures[0], text)
    assert refused.exit_code == 2
    assert refused.stderr.count("is no picture: it is a text file") == 1
    document = json.loads(atelier("submit", pictures[0], text, "--json").stdout)["error"]
    assert (document["code"], document["status"]) == ("image_invalid", 422)
    for words in (("status", "nobody"), ("watch", "nobody"), ("cancel", "no/body"), ("download", "../x")):
        result = atelier(*words)
        assert result.exit_code == 2, words
        assert "Error: " in result.stderr


def test_a_picture_that_arrives_damaged_is_not_kept(service, atelier, pictures, tmp_path):
    service.work(SteadyEngine())
    job_id = json.loads(atelier("submit", *pictures, *_FEW, "--wait", "--json").stdout)["id"]
    stored = next((service.settings.data_dir / "storage").glob("jobs/**/result*.png"))
    data = bytearray(stored.read_bytes())
    data[-20] ^= 1
    stored.write_bytes(data)
    out = tmp_path / "out.png"
    out.write_text("an older file")
    result = atelier("download", job_id, "-o", out)
    assert result.exit_code == 1
    assert out.read_text() == "an older file"
    assert not list(tmp_path.glob("*.part"))


def test_download_into_a_folder_that_is_not_there_says_so(service, atelier, pictures, tmp_path):
    service.work(SteadyEngine())
    job_id = json.loads(atelier("submit", *pictures, *_FEW, "--wait", "--json").stdout)["id"]
    result = atelier("download", job_id, "-o", tmp_path / "missing" / "out.png")
    assert result.exit_code == 2
    assert "missing' does not exist" in result.stderr
    assert atelier("download", job_id, "-o", tmp_path).stdout == f"{tmp_path / job_id}.png\n"
    assert Path(tmp_path / f"{job_id}.png").stat().st_size > 0


@pytest.mark.process
def test_ctrl_c_leaves_the_job_to_itself_and_says_how_to_find_it(service, pictures, gate):
    service.work(SteadyEngine(gate))
    words = ["submit", *pictures, *_FEW, "--wait", "--url", service.url]
    with subprocess.Popen(
        [Path(sys.executable).with_name("atelier"), *words], stderr=subprocess.PIPE, text=True
    ) as process:
        # The worker may be quicker than the answer: only who shows steps follows the job.
        assert any("/20, loss" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    found = re.search(r"follow it with 'atelier watch ([0-9a-f-]+)'", said)
    assert found, said
    assert "Traceback" not in said
    gate.opened.set()
    service.wait_for(found[1], JobStatus.SUCCEEDED)
