"""Draws command lines and task files that are right or wrong by construction: the generator, not a check, knows which.

Each case starts from a task that runs, and changes one thing. What is wrong is wrong by a rule that stands here, in
words of this file: a number out of its bounds, a name that does not exist, a tree where a value belongs.
"""

import random
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml

SHORT = {
    "classify_mnist": ["logger=none", "datamodule.config.source=digits", "trainer.enable_progress_bar=false"],
    "oscillator_pred": ["logger=none", "trainer.enable_progress_bar=false"],
    "ne_control_score": ["logger=none"],
}

TASKS = {
    "classify_mnist": ["fnn", "mlp"],
    "oscillator_pred": ["cdam_fnn", "dit"],
    "ne_control_score": ["cartpole", "pendulum"],
}

WHOLE = {
    "classify_mnist": {"config.seed": 0, "trainer.max_epochs": 1, "trainer.log_every_n_steps": 1},
    "oscillator_pred": {"config.seed": 0, "trainer.max_epochs": 1, "datamodule.config.fixed_per_device_batch_size": 1},
    "ne_control_score": {"config.seed": 0, "config.num_generations": 1, "population.config.size": 8},
}
"""Keys that take whole numbers, with the least that is right."""

REAL = {
    "classify_mnist": {"config.save_every_n_minutes": 0.1, "litmodule.optimizer.weight_decay": 0.0},
    "oscillator_pred": {"config.save_every_n_minutes": 0.1, "litmodule.optimizer.lr": 0.001},
    "ne_control_score": {"config.save_every_n_minutes": 0.1, "population.networks.config.mutation.strength": 0.01},
}
"""Keys that take numbers from there."""

SWITCHES = {
    "classify_mnist": ["config.skip_finished", "trainer.deterministic", "datamodule.dataloader.drop_last"],
    "oscillator_pred": ["config.skip_finished", "trainer.detect_anomaly", "datamodule.dataloader.pin_memory"],
    "ne_control_score": ["config.skip_finished"],
}

WORDS = {
    "classify_mnist": {"config.on_bad_loss": ["stop", "skip"], "datamodule.config.source": ["digits"]},
    "oscillator_pred": {"config.on_bad_loss": ["stop", "skip"]},
    "ne_control_score": {"population.config.observations": ["raw", "standardized"]},
}

GROUPS = {
    "classify_mnist": {
        "litmodule/optimizer": ["adam", "adamw"],
        "litmodule/scheduler": ["constant", "linear_warmup"],
        "callbacks": ["none", "early_stopping"],
    },
    "oscillator_pred": {"litmodule/optimizer": ["adam", "adamw"], "callbacks": ["none", "early_stopping"]},
    "ne_control_score": {"hydra/launcher": ["local"], "hydra/sweeper": ["grid"]},
}

ROOTS = {
    "classify_mnist": ["config", "trainer", "datamodule", "litmodule", "litmodule.optimizer", "litmodule.nnmodule"],
    "oscillator_pred": ["config", "trainer", "datamodule", "litmodule", "litmodule.scheduler"],
    "ne_control_score": ["config", "algorithm", "evaluator", "population", "population.networks"],
}

CODE = [
    "os.system",
    "subprocess.run",
    "builtins.eval",
    "torch.load",
    "functools.partial",
    "shutil.rmtree",
    "pickle.loads",
]

CLOSED = [
    "job.env_set.A",
    "run.dir",
    "sweep.dir",
    "verbose",
    "searchpath",
    "callbacks.x",
    "mode",
    "output_subdir",
    "job.chdir",
]

CLOSED_IN_FILES = [
    {"job": {"env_set": {"A": "b"}}},
    {"job_logging": {"root": {"level": "DEBUG"}}},
    {"callbacks": {"x": {"_target_": "os.system"}}},
    {"run": {"dir": "elsewhere"}},
    {"searchpath": ["elsewhere"]},
    {"launcher": None},
    {"sweeper": 3},
    None,
    [],
    "local",
]


@dataclass
class Case:
    """A command.

    Attributes:
        project: Whose.
        arguments: After the program's name; `task=` comes first.
        is_right: Whether it is to be accepted.
        rule: Why.
        text: The content of a task file that is new; None where the project has it.
    """

    project: str
    arguments: list[str]
    is_right: bool
    rule: str
    text: bytes | None = None


@dataclass
class Draw:
    """Draws cases, the same ones for the same seed.

    Attributes:
        seed: Of the random numbers.
    """

    seed: int
    numbers: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.numbers = random.Random(self.seed)

    def right(self) -> Case:
        """Returns a command that is to be accepted."""
        project = self._any(list(TASKS))
        arguments = self._base(project)
        for key, least in self._some(WHOLE[project]):
            arguments.append(f"{self._sign()}{key}={least + self.numbers.randrange(1, 50)}")
        for key, bound in self._some(REAL[project]):
            arguments.append(f"{key}={bound + self.numbers.random() / 10:.6g}")
        for key in self._some(SWITCHES[project]):
            arguments.append(f"{key}={self._any(['true', 'false'])}")
        for key, words in self._some(WORDS[project]):
            arguments = [one for one in arguments if not one.startswith(f"{key}=")] + [f"{key}={self._any(words)}"]
        for group, names in self._some(GROUPS[project]):
            arguments.append(f"{group}={self._any(names)}")
        swept = self._any([[], [], [f"config.save_every_n_minutes={self._any(['1,2', 'range(1,4)', 'choice(3,4)'])}"]])
        arguments = [one for one in arguments if not (swept and "save_every_n_minutes=" in one)] + swept
        return Case(project, arguments, is_right=True, rule="values within their bounds")

    def wrong(self) -> Case:
        """Returns a command that is to be refused."""
        project = self._any(list(TASKS))
        make: Callable[[str], tuple[str, list[str]] | Case] = self._any(
            [
                *(self._bad_whole, self._bad_real, self._bad_switch, self._bad_word, self._bad_choice, self._slip),
                *(self._node_as_value, self._value_as_node, self._code, self._closed, self._grammar, self._endless),
                *(self._reference, self._steering, self._twice, self._file, self._file, self._file, self._file_code),
            ]
        )
        made = make(project)
        if isinstance(made, Case):
            return made
        rule, arguments = made
        keys = [one.partition("=")[0].lstrip("+~") for one in arguments]
        base = [one for one in self._base(project) if one.partition("=")[0] not in keys or "twice" in rule]
        return Case(project, [*base, *arguments], is_right=False, rule=rule)

    def _base(self, project: str) -> list[str]:
        return [f"task={self._any(TASKS[project])}", *SHORT[project]]

    def _any(self, choices: Any) -> Any:
        return self.numbers.choice(choices)

    def _some(self, choices: Any) -> list[Any]:
        items = list(choices.items()) if isinstance(choices, dict) else list(choices)
        return [one for one in items if self.numbers.random() < 0.4]

    def _sign(self) -> str:
        return str(self._any(["", "", "+", "++"]))

    def _name(self) -> str:
        return "".join(self.numbers.choices(string.ascii_lowercase, k=self.numbers.randrange(3, 12)))

    def _bad_whole(self, project: str) -> tuple[str, list[str]]:
        key = self._any(list(WHOLE[project]))
        below = [-2 - self.numbers.randrange(100)]  # -1 means without end for some.
        others = [
            "true",
            "false",
            "1.5",
            "abc",
            "nan",
            "inf",
            "[1]",
            "{a: 1}",
            "'3'",
            f"{10 ** self.numbers.randrange(19, 400)}",
        ]
        return "a whole number within bounds", [f"{self._sign()}{key}={self._any([*below, *others])}"]

    def _bad_real(self, project: str) -> tuple[str, list[str]]:
        key, _ = self._any(list(REAL[project].items()))
        values = ["nan", "inf", "-inf", "true", "abc", "[0.1]", "{}", "null", f"-{self.numbers.random() + 0.001:.4g}"]
        return "a finite number within bounds", [f"{key}={self._any(values)}"]

    def _bad_switch(self, project: str) -> tuple[str, list[str]]:
        key = self._any(SWITCHES[project])
        return "true or false", [f"{key}={self._any(['2', '0.5', self._name(), '[true]', '{}', 'nan'])}"]

    def _bad_word(self, project: str) -> tuple[str, list[str]]:
        key, words = self._any(list(WORDS[project].items()))
        values = [
            self._name() + "_",
            words[0].upper(),
            "3",
            "true",
            "[" + words[0] + "]",
            "null",
            f"'{words[0]}\x1b[31m'",
        ]
        return "one of some words", [f"{key}={self._any(values)}"]

    def _bad_choice(self, project: str) -> tuple[str, list[str]]:
        group, names = self._any(list(GROUPS[project].items()))
        return "a name of a choice", [
            f"{group}={self._any([self._name() + '_', '3', 'true', 'null', names[0] + ',' + 'zz_'])}"
        ]

    def _slip(self, project: str) -> tuple[str, list[str]]:
        root = self._any(ROOTS[project])
        place = self._any([f"{root}.{self._name()}_", f"{self._name()}_", f"{root}.config.{self._name()}_.x"])
        return "a key that is declared", [f"{self._sign()}{place}={self._any(['1', 'null', 'abc', '[]', '{a: 1}'])}"]

    def _node_as_value(self, project: str) -> tuple[str, list[str]]:
        key = self._any([*WHOLE[project], *REAL[project]])
        node = self._any([f"${{{self._any(ROOTS[project][1:])}}}", "{_target_: torch.nn.ReLU}", "${config}"])
        return "a value, not a tree", [f"{key}={node}"]

    def _value_as_node(self, project: str) -> tuple[str, list[str]]:
        root = self._any([one for one in ROOTS[project] if "." not in one])
        return "a tree, not a value", [f"++{root}={self._any(['5', 'abc', 'true', '[1,2]', 'null', '1.5'])}"]

    def _code(self, project: str) -> tuple[str, list[str]]:
        root, name = self._any(ROOTS[project]), self._any(CODE)
        return "no object of another kind", [f"{self._any(['', '++'])}{root}._target_={name}"]

    def _closed(self, project: str) -> tuple[str, list[str]]:
        return "nothing of Hydra's own", [f"{self._sign()}hydra.{self._any(CLOSED)}={self._any(['x', '3', '[a]'])}"]

    def _grammar(self, project: str) -> tuple[str, list[str]]:
        key = self._any(list(WHOLE[project]))
        texts = [
            f"{key}=[1,",
            f"{key}={{a:",
            f"{key}",
            f"={key}",
            f"{key}==1=[",
            f"{key}='1",
            f"{key}=1)",
            f"{key}=a b(",
            "",
            "=",
            "++",
            "~",
        ]
        return "an override", [self._any(texts)]

    def _endless(self, project: str) -> tuple[str, list[str]]:
        key = self._any(list(WHOLE[project]))
        values = ["range(0,10,0)", f"range(0,{10 ** self.numbers.randrange(7, 15)})", "range(5,1)", "interval(0,1)"]
        values += ["shuffle(range(0,3))", "choice()", "glob(zz*)", "tag(a,b,1)", "range(0,inf)", "sort(1,a)"]
        return "a sweep that ends", [f"{key}={self._any(values)}"]

    def _reference(self, project: str) -> tuple[str, list[str]]:
        key = self._any(list(WHOLE[project]))
        values = [
            f"${{{self._name()}_}}",
            f"${{{key}}}",
            "${oc.env:NO_SUCH_VARIABLE_}",
            "${nope:1}",
            "${",
            "${oc.decode:'['}",
        ]
        return "a reference that leads to a value", [f"{key}={self._any(values)}"]

    def _steering(self, project: str) -> tuple[str, list[str]]:
        root = self._any(ROOTS[project])
        return "no steering of calls", [
            f"++{root}.{self._any(['_args_=[1]', '_convert_=x', '_partial_=1', '_zen_wrappers=os.system'])}"
        ]

    def _twice(self, project: str) -> tuple[str, list[str]]:
        group, names = self._any(list(GROUPS[project].items()))
        return "a group once, not twice", [f"{group}={self._any(names)}", f"{group}={self._any(names)}"]

    def _file(self, project: str) -> Case:
        """Returns a task file that is wrong as a file."""
        head = "# @package _global_\n"
        garbage = bytes(self.numbers.randrange(128, 256) for _ in range(5))
        contents: list[bytes] = [
            head.encode("utf-16"),
            head.encode() + b"a: '" + garbage + b"'\n",
            b"\xef\xbb\xbf" + head.encode(),
            f"{head}a: &a [*a]\n".encode(),
            f"{head}defaults: {self._name()}\n".encode(),
            f"{head}defaults: [{self.numbers.randrange(9)}]\n".encode(),
            f"{head}defaults:\n  - {self._name()}_\n".encode(),
            f"{head}defaults:\n  - /{self._name()}_: x\n".encode(),
            f"{head}{self.numbers.randrange(99)}: 1\n".encode(),
            f"{head}true: 1\n".encode(),
            f"{head}config: [{self._name()}\n".encode(),
            f"{head}config: {{seed: 1}}\nconfig: {{seed: 2}}\n".encode(),
            f"{head}config:\n\tseed: 1\n".encode(),
            f"{head}- {self._name()}\n".encode(),
            f"{head}{self._name()}\n".encode(),
            f"{head}x: {'[' * self.numbers.randrange(70, 900)}\n".encode(),
            f"{head}x: {'[' * 300}{']' * 300}\n".encode(),
            f"{head}x: !!python/object/apply:os.system [ls]\n".encode(),
            f"{head}x: !{self._name()} 1\n".encode(),
            f"config: {{seed: {self.numbers.randrange(99)}}}\n".encode(),
            b"",
            b"\0" * 20,
            (head + yaml.safe_dump({"hydra": self._any(CLOSED_IN_FILES)})).encode(),
        ]
        return Case(project, ["task=mine"], is_right=False, rule="a task file", text=self._any(contents))

    def _file_code(self, project: str) -> Case:
        """Returns a task file that would be right but for something that it names."""
        name = self._any([*CODE, "hydra_zen.funcs.get_obj", "hydra.utils.instantiate", "common.check.tree.resolve"])
        attack: Any = {"_target_": name, self._any(["x", "path", "_args_"]): self._any([["ls"], "os.system"])}
        for _ in range(self.numbers.randrange(3)):
            attack = self._any(
                [[attack], {"deep": attack}, [[1, attack]], {"_target_": "torch.nn.ReLU", "inplace": attack}]
            )
        defaults = [TASKS[project][0], "_self_"]
        tree = {"defaults": defaults, self._any([one for one in ROOTS[project] if "." not in one]): {"y_": attack}}
        text = "# @package _global_\n" + yaml.safe_dump(tree, sort_keys=False)
        return Case(project, ["task=mine", *SHORT[project]], is_right=False, rule="no code", text=text.encode())
