"""What the neuroevolution engine says of itself."""

from common.engine import Budget, Engine

NEUROEVOLUTION = Engine(
    budgets=[
        Budget("config.num_generations", column="step", offset=1),
        Budget("config.num_minutes", is_clock=True),
        Budget("config.target_fitness"),
    ],
    without_effect=["config.save_every_n_generations"],
    objective="champion/validation",
    direction="maximize",
    results=["champion/test", "champion/", "fitness/best"],
    checkpoints="lightning",
    loader="common.ne.load",
)
