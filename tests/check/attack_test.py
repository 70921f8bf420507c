"""Tries to get code of one's own run by way of a task file: every attempt is refused before anything is built.

Each attempt would make a folder, the marker, with `os.makedirs`, which Hydra's own list of dangerous targets lets
through: what stops it must be this repository.
"""

from pathlib import Path

import pytest

TASK = """
    # @package _global_
    defaults:
      - /datamodule: classify_mnist
      - /litmodule: classify_mnist
      - override /logger: none
      - _self_
    config: {device: cpu}
    trainer: {max_epochs: 1, fast_dev_run: true, enable_progress_bar: false}
    litmodule:
      config: {num_classes: 10}
      nnmodule: {config: {input_size: 784, num_layers: 1, output_size: 10}}
"""
MAKE = "{_target_: os.makedirs, name: MARKER}"
CREATE = '"${oc.create:{_target_: os.makedirs, name: MARKER}}"'

REFUSED_OBJECT = "is not an object that a configuration may name"
CLOSED = "Of Hydra's own settings only hydra.launcher.* and hydra.sweeper.* can be set"

ATTACKS = {
    "a target": (f"callbacks: {{x: {MAKE}}}", REFUSED_OBJECT),
    "a target in a list in a list": (f"callbacks: {{x: [[{MAKE}]]}}", REFUSED_OBJECT),
    "a created item": (f"callbacks: {{x: [{CREATE}]}}", REFUSED_OBJECT),
    "a created node": (f"callbacks: {{x: {CREATE}}}", REFUSED_OBJECT),
    "a created group": (f"callbacks: {CREATE}", REFUSED_OBJECT),
    "a created group of a partial": (f"logger: {CREATE}", REFUSED_OBJECT),
    "a target by reference": (
        "callbacks: {x: {_target_: '${logger.y}', name: MARKER}}\n    logger: {y: os.makedirs}",
        REFUSED_OBJECT,
    ),
    "a target that a resolver gives": (
        "callbacks: {x: {_target_: '${oc.decode:os.makedirs}', name: MARKER}}",
        REFUSED_OBJECT,
    ),
    "a class of names to objects in common": (
        "datamodule: {_target_: functools.partial, _args_: [{_target_: common.check.tree.target_of, node: "
        "{_target_: builtins.dict, _args_: [[[_zen_target, os.makedirs]]]}}, MARKER]}",
        REFUSED_OBJECT,
    ),
    "a decoded node": (
        "callbacks: {x: \"${oc.decode:'{_target_: os.makedirs, name: MARKER}'}\"}",
        "not a supported primitive type",
    ),
    "a created value of the launcher": (f"hydra: {{launcher: {{cpus_per_task: {CREATE}}}}}", REFUSED_OBJECT),
    "a created launcher": (f"hydra: {{launcher: {CREATE}}}", "hydra.launcher must hold keys and values"),
    "a created sweeper": (f"hydra: {{sweeper: {CREATE}}}", "hydra.sweeper must hold keys and values"),
    "a callback of Hydra": (f"hydra: {{callbacks: {{x: {MAKE}}}}}", CLOSED),
    "a created callback of Hydra": (f"hydra: {{callbacks: {{x: {CREATE}}}}}", CLOSED),
    "created callbacks of Hydra": (
        'hydra: {callbacks: "${oc.create:{x: {_target_: os.makedirs, name: MARKER}}}"}',
        CLOSED,
    ),
    "a log handler's factory": (
        "hydra: {job_logging: {handlers: {x: {(): os.makedirs, name: MARKER}}}}",
        CLOSED,
    ),
    "a log handler that is a reference": (
        "hydra: {job_logging: {handlers: {x: '${hydra.job.env_set}'}}, job: {env_set: {(): os.makedirs}}}",
        CLOSED,
    ),
    "a private function of common": (
        "callbacks: {x: {_target_: common.run.provenance._git, _args_: [{_target_: common.utils.misc.repository_path}, "
        "-c, 'alias.x=!touch MARKER', x]}}",
        REFUSED_OBJECT,
    ),
    "common's own resolver of names": (
        "datamodule: {_target_: functools.partial, _args_: [{_target_: common.check.tree.resolve, name: os.makedirs}, "
        "MARKER]}",
        REFUSED_OBJECT,
    ),
    "a getter behind _zen_target": (
        "datamodule: {_target_: functools.partial, _args_: [{_target_: hydra_zen.funcs.zen_processing, "
        "_zen_target: hydra_zen.funcs.get_obj, path: os.makedirs}, MARKER]}",
        REFUSED_OBJECT,
    ),
    "Lightning's own builder": (
        "callbacks: {x: {_target_: pytorch_lightning.cli.instantiate_class, args: MARKER, "
        "init: {class_path: os.makedirs}}}",
        REFUSED_OBJECT,
    ),
    "a YAML tag": ("callbacks: {x: !!python/object/apply:os.makedirs [MARKER]}", "is not valid YAML"),
}


@pytest.mark.parametrize(("attack", "text"), ATTACKS.values(), ids=ATTACKS)
def test_an_attack_is_refused_and_runs_nothing(attack: str, text: str, cli, make_project, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    project = make_project(evil=f"{TASK}    {attack.replace('MARKER', str(marker))}\n")
    outcome = cli("task=evil", "datamodule.config.source=digits", project=project)
    assert not marker.exists()
    assert text in outcome.err
    assert outcome.status == 2
