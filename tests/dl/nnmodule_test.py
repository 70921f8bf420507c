"""The plain networks: their layers are the documented ones, in the documented order."""

from typing import Any

import pytest
import torch
from torch import nn

from common.dl.litmodule._nnmodule.feedforward import FNN, MLP, FNNConfig, MLPConfig

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


def linear_sizes(network: nn.Module) -> list[tuple[int, int]]:
    return [(layer.in_features, layer.out_features) for layer in network.modules() if isinstance(layer, nn.Linear)]


def kinds(network: nn.Module) -> list[type[nn.Module]]:
    """Returns the types of the layers in the order in which an input passes them."""
    passed: list[type[nn.Module]] = []
    handles = [
        layer.register_forward_hook(lambda layer, *_: passed.append(type(layer)))
        for layer in network.modules()
        if not list(layer.children())
    ]
    network(torch.zeros(2, linear_sizes(network)[0][0]))
    for handle in handles:
        handle.remove()
    return [kind for kind in passed if kind is not nn.Flatten]


@pytest.mark.parametrize(
    ("num_layers", "sizes"),
    [(1, [(6, 3)]), (2, [(6, 5), (5, 3)]), (4, [(6, 5), (5, 5), (5, 5), (5, 3)])],
)
def test_fnn_has_the_documented_layer_sizes(num_layers: int, sizes: list[tuple[int, int]]) -> None:
    network = FNN(FNNConfig(input_size=6, hidden_size=5, num_layers=num_layers, output_size=3))
    assert linear_sizes(network) == sizes


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_fnn_has_relu_between_layers_and_none_after_the_last(num_layers: int) -> None:
    network = FNN(FNNConfig(input_size=6, num_layers=num_layers, output_size=3))
    assert kinds(network) == [nn.Linear, nn.ReLU] * (num_layers - 1) + [nn.Linear]


def test_fnn_with_one_layer_is_an_affine_map_of_the_flattened_image() -> None:
    network = FNN(FNNConfig(input_size=28 * 28, output_size=10))
    images = torch.randn(2, 1, 28, 28)
    weight, bias = network.parameters()
    torch.testing.assert_close(network(images), images.reshape(2, 784) @ weight.T + bias)


@pytest.mark.parametrize("field", ["input_size", "hidden_size", "num_layers", "output_size"])
def test_fnn_refuses_sizes_below_one(field: str) -> None:
    with pytest.raises(Exception, match=field):
        FNNConfig(**{"input_size": 1, "output_size": 1} | {field: 0})


def test_mlp_has_the_listed_layer_sizes() -> None:
    assert linear_sizes(MLP(MLPConfig(layer_sizes=[6, 5, 4, 3]))) == [(6, 5), (5, 4), (4, 3)]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mlp_has_activation_and_dropout_between_layers_and_none_after_the_last(activation: Any) -> None:
    network = MLP(MLPConfig(layer_sizes=[6, 5, 4, 3], activation=activation, dropout=0.5))
    assert kinds(network) == [nn.Linear, ACTIVATIONS[activation], nn.Dropout] * 2 + [nn.Linear]


def test_mlp_without_hidden_layers_is_linear() -> None:
    assert kinds(MLP(MLPConfig(layer_sizes=[6, 3], dropout=0.5))) == [nn.Linear]


def test_mlp_flattens_images() -> None:
    assert MLP(MLPConfig(layer_sizes=[784, 10]))(torch.randn(2, 1, 28, 28)).shape == (2, 10)


def test_mlp_drops_units_in_training_alone() -> None:
    network = MLP(MLPConfig(layer_sizes=[6, 50, 3], dropout=0.5))
    inputs = torch.randn(4, 6)
    assert not torch.equal(network(inputs), network(inputs))
    network.eval()
    assert torch.equal(network(inputs), network(inputs))


def test_mlp_drops_the_configured_fraction_of_units() -> None:
    network = MLP(MLPConfig(layer_sizes=[1, 10_000, 1], dropout=0.25, activation="tanh"))
    kept = []
    (dropout,) = [layer for layer in network.modules() if isinstance(layer, nn.Dropout)]
    dropout.register_forward_hook(lambda _, __, output: kept.append((output != 0).float().mean().item()))
    network(torch.ones(1, 1))
    assert kept[0] == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize("layer_sizes", [[], [5]], ids=str)
def test_mlp_needs_two_sizes(layer_sizes: list[int]) -> None:
    with pytest.raises(ValueError, match=r"layer_sizes needs at least an input and an output size; received \["):
        MLPConfig(layer_sizes=layer_sizes)


@pytest.mark.parametrize(
    "wrong", [{"layer_sizes": [3, 0]}, {"dropout": 1.0}, {"dropout": -0.1}, {"activation": "sine"}], ids=str
)
def test_mlp_refuses_wrong_values(wrong: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=next(iter(wrong))):
        MLPConfig(**{"layer_sizes": [3, 2]} | wrong)


@pytest.mark.parametrize(
    "network", [FNN(FNNConfig(input_size=6, output_size=3)), MLP(MLPConfig(layer_sizes=[6, 3]))], ids=["fnn", "mlp"]
)
def test_tensors_of_the_wrong_kind_are_refused_with_the_expected_axes(network: nn.Module) -> None:
    for wrong in (torch.tensor(1.0), torch.zeros(2, 6, dtype=torch.long)):
        with pytest.raises(Exception, match=r"Float\[Tensor, 'B \*input_shape'\]"):
            network(wrong)


@pytest.mark.parametrize(
    "network", [FNN(FNNConfig(input_size=6, output_size=3)), MLP(MLPConfig(layer_sizes=[6, 3]))], ids=["fnn", "mlp"]
)
def test_inputs_of_another_size_are_refused(network: nn.Module) -> None:
    with pytest.raises(RuntimeError, match="2x5 and 6x3"):
        network(torch.zeros(2, 5))
