"""Mamba2: chunks, recurrence and steps agree with each other and with an independent implementation."""

import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from common.dl.litmodule._nnmodule.mamba2 import Mamba2, Mamba2BlocksConfig, Mamba2Config
from common.dl.litmodule._nnmodule.ssd import chunked as ssd_module
from common.dl.litmodule._nnmodule.ssd.chunked import ssd, ssd_step, ssd_torch
from common.dl.litmodule._nnmodule.ssd.factored import ssd_factored
from common.dl.litmodule._nnmodule.ssd.gated import GatedConvolution, GatedNorm, SplitLinear
from common.dl.litmodule._nnmodule.ssd.masked import ssd_masked
from common.utils.torch import import_torchvision

SIZES: dict[str, Any] = {"input_size": 3, "output_size": 2, "hidden_size": 16, "head_size": 8, "state_size": 5}


def network(**settings: Any) -> Mamba2:
    torch.manual_seed(0)
    return Mamba2(Mamba2Config(**SIZES | settings))


def ssd_inputs(
    batch: int, length: int, heads: int, head_size: int, groups: int, state: int, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    x = torch.randn(batch, length, heads, head_size, dtype=dtype)
    dt = torch.rand(batch, length, heads, dtype=dtype)
    a = -4 * torch.rand(heads, dtype=dtype) - 0.01
    b, c = (torch.randn(batch, length, groups, state, dtype=dtype) for _ in range(2))
    d = torch.randn(heads, dtype=dtype)
    return x, dt, a, b, c, d, torch.randn(batch, heads, head_size, state, dtype=dtype)


def recurrence(
    x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """The definition, one step and one head at a time."""
    y, state = torch.zeros_like(x), state.clone()
    heads_per_group = x.shape[2] // b.shape[2]
    for step in range(x.shape[1]):
        for head in range(x.shape[2]):
            group = head // heads_per_group
            decay = torch.exp(dt[:, step, head] * a[head])[:, None, None]
            written = torch.einsum("bp,bn->bpn", x[:, step, head] * dt[:, step, head, None], b[:, step, group])
            state[:, head] = decay * state[:, head] + written
            y[:, step, head] = (
                torch.einsum("bpn,bn->bp", state[:, head], c[:, step, group]) + d[head] * x[:, step, head]
            )
    return y, state


# --- the state space


@pytest.fixture(params=["factored", "masked"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test both ways: on the CPU, decays that are too strong for one take the other."""
    if request.param == "masked":
        monkeypatch.setattr(ssd_module, "can_be_factored", lambda reach: False)
    else:
        monkeypatch.setattr(ssd_module, "ssd_masked", None)
    return str(request.param)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("chunk_size", [1, 3, 8, 64])
@pytest.mark.parametrize(
    "sizes",
    [(1, 1, 1, 1, 1, 1), (2, 8, 2, 3, 1, 4), (1, 19, 4, 2, 2, 3), (3, 33, 6, 1, 3, 2), (2, 65, 4, 5, 4, 7)],
    ids=str,
)
def test_chunks_equal_the_recurrence(sizes: Any, chunk_size: int) -> None:
    inputs = ssd_inputs(*sizes)
    y, state = ssd(*inputs, chunk_size=chunk_size)
    expected_y, expected_state = recurrence(*inputs)
    torch.testing.assert_close(y, expected_y, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(state, expected_state, atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("num_chunks", [2, 16, 263])
def test_the_scan_crosses_as_many_chunks_as_there_are(num_chunks: int) -> None:
    inputs = ssd_inputs(1, num_chunks, 1, 2, 1, 2)
    y, state = ssd(*inputs, chunk_size=1)
    expected_y, expected_state = recurrence(*inputs)
    torch.testing.assert_close(y, expected_y, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(state, expected_state, atol=1e-5, rtol=1e-5)


def test_one_step_equals_the_recurrence() -> None:
    x, dt, a, b, c, d, state = ssd_inputs(2, 1, 4, 3, 2, 5)
    y, new_state = ssd_step(x[:, 0], dt[:, 0], a, b[:, 0], c[:, 0], d, state)
    expected_y, expected_state = recurrence(x, dt, a, b, c, d, state)
    torch.testing.assert_close(y, expected_y[:, 0])
    torch.testing.assert_close(new_state, expected_state)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("sizes", [(1, 7, 2, 2, 1, 2), (2, 5, 4, 1, 2, 2)], ids=str)
def test_gradients_of_the_state_space_are_right(sizes: Any) -> None:
    inputs = [part.requires_grad_() for part in ssd_inputs(*sizes, torch.float64)]
    assert torch.autograd.gradcheck(lambda *parts: ssd(*parts, chunk_size=3), inputs)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("chunk_size", [1, 4])
@pytest.mark.parametrize(
    "sizes",
    [(1, 4, 1, 1, 1, 1), (1, 4, 1, 3, 1, 2), (2, 4, 3, 1, 1, 1), (2, 1, 2, 3, 2, 4), (1, 8, 4, 2, 2, 3)],
    ids=str,
)
def test_the_backward_pass_changes_nothing_that_it_is_given(sizes: Any, chunk_size: int) -> None:
    """A residual connection shares its gradient with the state space."""
    inputs = [part.requires_grad_() for part in ssd_inputs(*sizes)]
    before = [part.detach().clone() for part in inputs]
    outputs = ssd(*inputs, chunk_size=chunk_size)
    gradients = [torch.randn_like(part) for part in outputs]
    given = [part.clone() for part in gradients]
    torch.autograd.grad(outputs, inputs, gradients)
    assert all(torch.equal(now, then) for now, then in zip(gradients, given, strict=True))
    assert all(torch.equal(now, then) for now, then in zip(inputs, before, strict=True))


@pytest.mark.parametrize("num_groups", [1, 2])
@pytest.mark.parametrize(("batch", "length", "width", "kernel_size"), [(1, 1, 2, 1), (2, 5, 4, 3), (1, 6, 2, 4)])
def test_what_surrounds_the_state_space_changes_nothing_that_it_is_given(
    batch: int, length: int, width: int, kernel_size: int, num_groups: int
) -> None:
    torch.manual_seed(0)
    rows, gate, scales = (torch.randn(*size, width, requires_grad=True) for size in ((length,), (length,), ()))
    window, channels, kernels, biases = (
        torch.randn(size, requires_grad=True)
        for size in ((batch, kernel_size - 1, width), (batch, length, width), (width, kernel_size), (width,))
    )
    matrix, halves = torch.randn(width, width, requires_grad=True), [width // 2, width - width // 2]
    for function, inputs, others in (
        (GatedNorm, [rows, gate, scales], [num_groups]),
        (GatedConvolution, [window, channels, kernels, biases], [halves]),
        (SplitLinear, [channels, matrix], [halves]),
    ):
        before = [part.detach().clone() for part in inputs]
        outputs = function.apply(*inputs, *others)
        outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        gradients = [torch.randn_like(part) for part in outputs]
        given = [part.clone() for part in gradients]
        torch.autograd.grad(outputs, inputs, gradients)
        assert all(torch.equal(now, then) for now, then in zip(gradients, given, strict=True))
        assert all(torch.equal(now, then) for now, then in zip(inputs, before, strict=True))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_what_is_no_number_spoils_its_sequence_from_there_on_and_nothing_else(value: float, num_layers: int) -> None:
    model = network(num_layers=num_layers, chunk_size=4)
    x = torch.randn(3, 11, 3)
    expected = model(x)
    x[1, 6:, 0] = value
    x = x.requires_grad_()
    y, cache = model.prefill(x, model.make_cache(3))
    assert torch.equal(y[[0, 2]], expected[[0, 2]])
    torch.testing.assert_close(y[1, :6], expected[1, :6])
    assert y[1, 6:].isnan().all()
    assert model.step(torch.randn(3, 3), cache)[0].isnan().all(dim=1).tolist() == [False, True, False]
    y[:, :6].sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_a_state_space_without_steps_leaves_the_state() -> None:
    x, *others, state = ssd_inputs(2, 0, 2, 3, 1, 4)
    y, after = ssd(x, *others, state, chunk_size=8)
    assert y.shape == x.shape
    assert torch.equal(after, state)


@pytest.mark.parametrize(("batch", "length"), [(0, 5), (3, 0)])
def test_no_sequences_and_no_steps_are_refused(batch: int, length: int) -> None:
    with pytest.raises(ValueError, match=rf"received {batch} of length {length}\."):
        network()(torch.zeros(batch, length, 3))


@pytest.mark.parametrize(
    ("forgotten", "is_factored"), [(0.01, True), (60.0, True), (119.0, True), (121.0, False), (160.0, False)]
)
def test_decays_of_any_strength_agree_with_the_recurrence(
    forgotten: float, is_factored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`forgotten` is the logarithm of what is left after a chunk, negated."""
    x, dt, a, b, c, d, state = ssd_inputs(2, 128, 2, 3, 1, 2)
    a = -forgotten / dt[:, :64].sum(dim=1).max(dim=0).values
    dt[:, 64:] = dt[:, :64]
    used = []
    monkeypatch.setattr(ssd_module, "ssd_factored", lambda *given: used.append(True) or ssd_factored(*given))
    inputs = [part.detach().requires_grad_() for part in (x, dt, a, b, c, d, state)]
    y, last = ssd(*inputs, chunk_size=64)
    expected_y, expected_last = recurrence(x, dt, a, b, c, d, state)
    torch.testing.assert_close(y, expected_y, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(last, expected_last, atol=2e-5, rtol=1e-5)
    (1e-9 * y).sum().backward()
    gradients = [part.grad for part in inputs]
    wide = [part.detach().double().requires_grad_() for part in inputs]
    (1e-9 * ssd_masked_outputs(*wide)).sum().backward()
    for gradient, part in zip(gradients, wide, strict=True):
        torch.testing.assert_close(gradient.double(), part.grad, atol=1e-13, rtol=1e-4)
    assert bool(used) == is_factored


def ssd_masked_outputs(x: Tensor, dt: Tensor, *others: Tensor) -> Tensor:
    """The outputs by masks, one chunk for all."""
    a, b, c, d, state = others
    x, dt, b, c = (part.unsqueeze(1) for part in (x, dt, b, c))
    y, _ = ssd_masked(x, dt.log(), (dt * a).cumsum(dim=2), b, c, d, state)
    return y.squeeze(1)


def test_mamba_ssm_is_used_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its kernels need a GPU: a stand-in with their interface shows which arguments they are given."""
    kernels = ModuleType("mamba_ssm.ops.triton.ssd_combined")

    def mamba_chunk_scan_combined(
        x: Tensor,
        dt: Tensor,
        A: Tensor,  # noqa: N803  # As mamba-ssm names them.
        B: Tensor,  # noqa: N803
        C: Tensor,  # noqa: N803
        chunk_size: int,
        **keys: Any,
    ) -> Any:
        assert keys.keys() == {"D", "initial_states", "return_final_states"}
        return ssd_torch(x, dt, A, B, C, keys["D"], keys["initial_states"], chunk_size)

    kernels.mamba_chunk_scan_combined = mamba_chunk_scan_combined  # type: ignore[attr-defined]
    for name in ("mamba_ssm", "mamba_ssm.ops", "mamba_ssm.ops.triton"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, kernels.__name__, kernels)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    ssd_module._kernel.cache_clear()
    found = ssd_module._kernel()
    ssd_module._kernel.cache_clear()
    assert found is mamba_chunk_scan_combined


def test_without_mamba_ssm_there_is_no_kernel() -> None:
    ssd_module._kernel.cache_clear()
    assert ssd_module._kernel() is None


# --- the network


def stepped(model: Mamba2, x: Tensor, cache: Any = None) -> Tensor:
    cache, outputs = model.make_cache(len(x)) if cache is None else cache, []
    for step in range(x.shape[1]):
        y, cache = model.step(x[:, step], cache)
        outputs.append(y)
    return torch.stack(outputs, dim=1)


@pytest.mark.parametrize(
    ("batch", "length", "settings"),
    [
        (1, 1, {}),
        (1, 37, {"chunk_size": 8}),
        (3, 16, {"chunk_size": 16, "num_groups": 2}),
        (2, 21, {"chunk_size": 4, "num_groups": 4, "conv_size": 2, "num_layers": 3}),
        (2, 9, {"conv_size": 1, "expansion": 1, "head_size": 4}),
        (2, 2, {"conv_size": 7}),
    ],
)
def test_steps_equal_the_whole_sequence(batch: int, length: int, settings: dict[str, Any]) -> None:
    model = network(**settings)
    x = torch.randn(batch, length, 3)
    torch.testing.assert_close(stepped(model, x), model(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("num_prompted", [1, 2, 8, 19])
def test_a_prompt_fills_the_cache(num_prompted: int) -> None:
    model = network(chunk_size=8)
    x = torch.randn(2, 20, 3)
    start, cache = model.prefill(x[:, :num_prompted], model.make_cache(2))
    rest = stepped(model, x[:, num_prompted:], cache)
    torch.testing.assert_close(torch.cat([start, rest], dim=1), model(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.prefill(x[:, num_prompted:], cache)[0], rest, atol=1e-5, rtol=1e-5)


def test_chunk_size_changes_no_result() -> None:
    x = torch.randn(2, 50, 3)
    torch.testing.assert_close(network(chunk_size=7)(x), network(chunk_size=64)(x), atol=1e-5, rtol=1e-5)


def test_outputs_do_not_depend_on_later_inputs() -> None:
    model, x = network(chunk_size=4), torch.randn(1, 20, 3)
    later = x.clone()
    later[:, 11:] += 1
    torch.testing.assert_close(model(later)[:, :11], model(x)[:, :11])
    assert not torch.allclose(model(later)[:, 11:], model(x)[:, 11:])


def test_gradients_of_the_network_are_right() -> None:
    model = network(hidden_size=4, head_size=2, state_size=2, chunk_size=3, num_groups=2).double()
    x = torch.randn(1, 7, 3, dtype=torch.float64, requires_grad=True)
    names, parameters = zip(*model.named_parameters(), strict=True)

    def output(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(model, dict(zip(names, values, strict=True)), x)

    assert torch.autograd.gradcheck(output, (x, *parameters), fast_mode=True)


def test_bfloat16_comes_near_float32_and_keeps_its_state_in_float32() -> None:
    model, x = network(), torch.randn(2, 30, 3)
    expected = model(x)
    model = model.to(torch.bfloat16)
    y, cache = model.prefill(x.bfloat16(), model.make_cache(2))
    assert y.dtype == torch.bfloat16
    assert cache[0].state.dtype == torch.float32
    torch.testing.assert_close(y.float(), expected, atol=0.05, rtol=0.05)
    y.float().square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.step(x[:, 0].bfloat16(), cache)[0].dtype == torch.bfloat16


def test_mixed_precision_comes_near_float32() -> None:
    model, x = network(), torch.randn(2, 30, 3)
    expected = model(x)
    expected.square().mean().backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = model.prefill(x, model.make_cache(2))
        loss = y.float().square().mean()
    loss.backward()
    torch.testing.assert_close(y.float(), expected, atol=0.05, rtol=0.05)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient, atol=0.05, rtol=0.1)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        stepped_y = stepped(model, x)
    torch.testing.assert_close(stepped_y.float(), expected, atol=0.05, rtol=0.05)


def test_gradients_reach_what_a_prompt_left() -> None:
    """A sequence that is cut in two has the gradients of the whole one."""
    model, x = network(chunk_size=4, num_groups=2).double(), torch.randn(2, 13, 3, dtype=torch.float64)
    model(x).square().sum().backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    first, cache = model.prefill(x[:, :2], model.make_cache(2))
    second, _ = model.prefill(x[:, 2:], cache)
    torch.cat([first, second], dim=1).square().sum().backward()
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"head_size": 7}, r"divisible by head_size; received 2 × 16 = 32 and head_size=7"),
        ({"num_groups": 3}, r"= 4, must be divisible by num_groups; received num_groups=3"),
        ({"state_size": 0}, "state_size"),
    ],
)
def test_wrong_sizes_are_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(Exception, match=text):
        Mamba2BlocksConfig(**{"hidden_size": 16, "head_size": 8} | settings)


@pytest.mark.slow
def test_it_learns_to_copy_selectively() -> None:
    """Remembers symbols among noise, and repeats them at the end; `benchmarks/mamba2.py` does it at length 256."""
    torch.manual_seed(0)
    model = Mamba2(Mamba2Config(input_size=8, output_size=6, hidden_size=32, head_size=8, state_size=16, chunk_size=16))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    accuracy = 0.0
    for _ in range(400):
        tokens, answers = selective_copying(32, length=12, num_copied=2, num_symbols=6)
        logits = model(tokens)[:, -2:]
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), answers.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        accuracy = 0.9 * accuracy + 0.1 * (logits.argmax(dim=-1) == answers).float().mean().item()
        if accuracy > 0.95:
            break
    assert accuracy > 0.95


def selective_copying(batch: int, length: int, num_copied: int, num_symbols: int) -> tuple[Tensor, Tensor]:
    """Returns one-hot tokens (the symbols, noise, "now repeat"), and the symbols in their order."""
    answers = torch.randint(num_symbols, (batch, num_copied))
    tokens = torch.full((batch, length + num_copied), num_symbols)
    places = torch.rand(batch, length).argsort(dim=1)[:, :num_copied].sort(dim=1).values
    tokens.scatter_(1, places, answers)
    tokens[:, length:] = num_symbols + 1
    return nn.functional.one_hot(tokens, num_symbols + 2).float(), answers


# --- an independent implementation


@pytest.mark.slow
@pytest.mark.parametrize(("length", "num_groups"), [(1, 1), (50, 1), (33, 2)])
@pytest.mark.filterwarnings("ignore")
def test_agrees_with_the_implementation_of_transformers(length: int, num_groups: int) -> None:
    pytest.importorskip("transformers", reason="images leave it out, because no run needs it")
    reference = transformers_model(num_groups)
    model = network(hidden_size=16, num_layers=2, num_groups=num_groups, chunk_size=16)
    state = {name.replace("norm_f.", "norm."): value for name, value in reference.state_dict().items()}
    state = {name.replace("layers.", "blocks."): value for name, value in state.items() if "embeddings" not in name}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert unexpected == []
    assert {name.partition(".")[0] for name in missing} == {"embedding", "head"}
    x = torch.randn(3, length, 16)
    hidden, cache = x, model.make_cache(3)
    for block, remembered in zip(model.blocks, cache, strict=True):
        hidden, _ = block(hidden, remembered)
    expected = reference(inputs_embeds=x, use_cache=False).last_hidden_state
    torch.testing.assert_close(model.norm(hidden), expected, atol=1e-4, rtol=1e-4)


def transformers_model(num_groups: int) -> nn.Module:
    """Returns the network of transformers with parameters that are all different."""
    import_torchvision()
    from transformers.models.mamba2.configuration_mamba2 import Mamba2Config as TransformersConfig
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Model

    torch.manual_seed(1)
    config = TransformersConfig(
        num_heads=4,
        head_dim=8,
        vocab_size=2,
        hidden_size=16,
        state_size=5,
        num_hidden_layers=2,
        n_groups=num_groups,
        chunk_size=8,
    )
    reference = Mamba2Model(config)
    for parameter in reference.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return reference
