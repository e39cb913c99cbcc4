"""What is recorded of interpreter, machine and environment, and what never is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from mlver.lineage.capture.environment import recorded_environment
from mlver.lineage.capture.host import hardware
from mlver.lineage.capture.processes import command_of
from mlver.lineage.capture.python import capture_python, packages_in, this_python
from mlver.lineage.capture.record import capture
from mlver.lineage.capture.secrets import is_secret_name, masked, masked_arguments, masked_values, secret_values


def test_the_environment_is_a_list_of_what_may_be_known() -> None:
    found = recorded_environment(
        {
            "CUDA_VISIBLE_DEVICES": "0",
            "SLURM_JOB_ID": "7",
            "SLURM_JWT": "eyJ",
            "NCCL_DEBUG": "INFO",
            "TF_VAR_password": "x",
            "TORCH_API_KEY": "x",
            "PYTHONPATH": "/home/ada/hunter22/lib",
            "MY_PASSWORD": "hunter22",
            "HOME": "/home/ada",
            "TZ": "\udcff",
        }
    )
    assert found == {
        "CUDA_VISIBLE_DEVICES": "0",
        "SLURM_JOB_ID": "7",
        "NCCL_DEBUG": "INFO",
        "PYTHONPATH": "/home/ada/***/lib",
        "TZ": "\\udcff",
    }


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "--api-key", "dbPassword", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "auth", "KEY_PWD", "token2"]
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["max_tokens", "pad_token", "sort_key", "PWD", "tokenizer", "key", "author", "num-tokens"]
)
def test_names_of_none(name: str) -> None:
    assert not is_secret_name(name)


def test_secrets_are_masked_wherever_they_stand() -> None:
    said = ["train.py", "--token", "hunter1", "--lr", "0.1", "PASSWORD=hunter2", "s3://u:hunter3@h/x?sig=hunter4"]
    said += ["hf_" + "a" * 30, "--note=hunter55 is it"]
    shown = " ".join(masked_arguments(said, secret_values({"A_SECRET": "hunter55"})))
    assert "hunter" not in shown
    assert "a" * 30 not in shown
    assert "--lr 0.1" in shown
    assert masked_values({"lr": 1, "db": {"password": "x"}, "list": ["hunter6"], "token": 5}, ["hunter6"]) == {
        "lr": 1,
        "db": {"password": "***"},
        "list": ["***"],
        "token": 5,
    }
    assert masked("Authorization: Bearer abcdefgh12345") == "Authorization: Bearer ***"


def test_packages_are_those_of_the_interpreter_that_runs(tmp_path: Path) -> None:
    for name in ("numpy-1.0.dist-info", "Odd_Name-2.0-py3.11.egg-info", "no.version", "torch-2.1+cpu.dist-info"):
        (tmp_path / name).mkdir()
    assert packages_in([str(tmp_path), "/nowhere"]) == {"numpy": "1.0", "odd-name": "2.0", "torch": "2.1+cpu"}
    found = capture_python([sys.executable, "train.py"], os.environ, tmp_path)
    assert (found.document["found"], found.document["version"]) == ("command", this_python().document["version"])
    assert found.packages["numpy"] == this_python().packages["numpy"]
    script = tmp_path / "train"
    script.write_text(f"#!{sys.executable} -u\n")
    script.chmod(0o755)
    assert capture_python(["./train"], os.environ, tmp_path).document["found"] == "script"
    (tmp_path / "python").symlink_to(sys.executable)
    assert capture_python(["make"], {"PATH": str(tmp_path)}, tmp_path).document["found"] == "path"
    assert capture_python(["make"], {"PATH": "/nowhere"}, tmp_path).document == {}


def test_an_interpreter_that_fails_is_named_at_least(tmp_path: Path) -> None:
    broken = tmp_path / "python3"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    assert capture_python([str(broken)], os.environ, tmp_path).document == {
        "executable": str(broken),
        "found": "command",
    }


def test_graphics_cards(tmp_path: Path) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 'NVIDIA A100, 40960, 535.1'\necho 'NVIDIA T4, [N/A], 535.1'\n")
    driver.chmod(0o755)
    found = hardware({"PATH": f"{tmp_path}:/bin:/usr/bin"})
    assert found["gpus"] == [
        {"name": "NVIDIA A100", "driver": "535.1", "memory_bytes": 40960 << 20},
        {"name": "NVIDIA T4", "driver": "535.1"},
    ]
    assert found["memory_bytes"] > 0
    driver.write_text("#!/bin/sh\nexit 9\n")
    assert hardware({"PATH": str(tmp_path)})["gpus"] == []


def test_a_record_is_text_whatever_the_words_are(tmp_path: Path) -> None:
    found = capture(["true", "\udcff"], tmp_path, {"PATH": "/nowhere"})
    assert found.record["command"] == ["true", "\\udcff"]
    assert found.record["notes"] == ["Which code ran is not recorded: git is not installed."]
    assert found.record["folder"] == str(tmp_path)


def test_the_command_of_a_process() -> None:
    words = command_of(os.getpid())
    assert any("pytest" in word or "xdist" in word or word == "-c" for word in words)
    assert command_of(1 << 30) == []
