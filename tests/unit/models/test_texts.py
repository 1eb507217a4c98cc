"""Models that read texts: padding, dropout by key, pretrained weights and new heads."""

import copy
import shutil
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from p2pqg import Simulation, load, run
from p2pqg.base.errors import ConfigError
from p2pqg.data._arrays import Arrays
from p2pqg.data._encoded import encoded
from p2pqg.models import MODELS, blueprint, build_model, by_path, encoder_of, tokenizer_of
from p2pqg.models._frozen import Encoder, _single_threads
from p2pqg.models._reading import Reader
from p2pqg.models.stacked.stacked import Stacked
from p2pqg.recipe import learning

LENGTH, CLASSES = 7, 3
SMALL = {"width": 8, "layers": 2, "heads": 2, "vocabulary": 30}


def texts(*shape, seed=0):
    """Token numbers [*shape, LENGTH], each text of a length of its own."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, 30, (*shape, LENGTH), generator=generator, dtype=torch.int32)
    lengths = torch.randint(1, LENGTH + 1, (*shape, 1), generator=generator)
    return tokens * (torch.arange(LENGTH) < lengths)


def small(dropout=0.5, seed=0):
    return build_model("transformer", CLASSES, (LENGTH,), seed, **SMALL, dropout=dropout)


def clients(module, k=3, batch=4, precision="float64"):
    """Stacked, and different rows, tokens and targets for each client."""
    stacked = Stacked(module, precision=precision)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(k, stacked.num_params, generator=generator, dtype=torch.float64)
    x = (stacked.initial_row() + 0.05 * noise).to(stacked.dtype)
    buffers = stacked.initial_buffers().repeat(k, 1)
    targets = torch.randint(0, CLASSES, (k, batch), generator=generator)
    return stacked, x, buffers, texts(k, batch), targets


def test_a_transformer_has_the_parameters_that_arithmetic_says():
    width = 8
    embeddings = (30 + LENGTH) * width
    layer = 2 * 2 * width + (3 + 1 + 4 + 4) * width**2 + (3 + 1 + 4 + 1) * width
    head = 2 * width + width * CLASSES + CLASSES
    cost = blueprint("transformer", **SMALL).cost(CLASSES, (LENGTH,))
    assert cost.num_params == embeddings + 2 * layer + head
    assert cost.multiply_adds == 2 * LENGTH * 12 * width**2 + width * CLASSES


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_what_fills_up_a_text_changes_nothing(dtype):
    model = small().double().eval()
    tokens = texts(5).to(dtype)
    together = model(tokens)
    for row, logits in zip(tokens, together, strict=True):
        alone = row[row > 0][None]
        assert_close(model(alone)[0], logits, rtol=0, atol=1e-12)
        longer = F.pad(alone, (0, LENGTH - alone.shape[1]))
        assert_close(model(longer)[0], logits, rtol=0, atol=1e-12)


def test_an_empty_text_still_has_finite_logits():
    model = small().eval()
    assert model(torch.zeros(2, LENGTH, dtype=torch.int32)).isfinite().all()


def test_the_order_of_words_matters_and_their_batch_does_not():
    model = small().double().eval()
    tokens = torch.tensor([[3, 4, 5, 6, 7, 8, 9], [9, 8, 7, 6, 5, 4, 3]])
    both = model(tokens)
    assert not torch.allclose(both[0], both[1], atol=1e-4)
    assert_close(model(tokens[1:])[0], both[1], rtol=0, atol=1e-12)


def plain_gradient(stacked, module, row, key, tokens, targets):
    """What PyTorch gives for one client alone, after its own manual seed."""
    plain = copy.deepcopy(module).to(stacked.dtype).train()
    plain.load_state_dict(stacked.state_dict(row))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key)  # noqa: TID251  the plain way, to compare with
        loss = F.cross_entropy(plain(tokens), targets)
    grads = torch.autograd.grad(loss, list(plain.parameters()), materialize_grads=True)
    return torch.cat([grad.reshape(-1) for grad in grads])


def test_gradients_are_those_of_plain_pytorch_seeded_with_the_clients_key():
    module = small()
    stacked, x, buffers, tokens, targets = clients(module)
    keys = [5, 2**63 - 1, 0]
    _, g, _ = stacked.gradients(x, buffers, tokens, targets, keys)
    for client, key in enumerate(keys):
        expected = plain_gradient(stacked, module, x[client], key, tokens[client], targets[client])
        assert_close(g[client], expected, rtol=0, atol=1e-12)


def test_dropout_does_not_feel_who_shares_the_block():
    stacked, x, buffers, tokens, targets = clients(small(), precision="float32")
    keys = [11, 12, 13]
    losses, g, _ = stacked.gradients(x, buffers, tokens, targets, keys)
    for client in range(3):
        own = slice(client, client + 1)
        alone = stacked.gradients(x[own], buffers[own], tokens[own], targets[own], keys[own])
        assert torch.equal(alone[0], losses[own])
        assert torch.equal(alone[1], g[own])


def test_dropout_differs_with_the_key_and_leaves_the_global_state_alone():
    stacked, x, buffers, tokens, targets = clients(small(), k=2)
    x, tokens, targets = x[:1].repeat(2, 1), tokens[:1].repeat(2, 1, 1), targets[:1].repeat(2, 1)
    before = torch.get_rng_state()
    same, other = (stacked.gradients(x, buffers, tokens, targets, k)[1] for k in ([1, 1], [1, 2]))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(same[0], same[1])
    assert torch.equal(same[0], other[0])
    assert not torch.allclose(other[0], other[1])


def test_evaluation_drops_nothing():
    stacked, x, buffers, tokens, targets = clients(small())
    correct, loss = stacked.evaluate(x, buffers, tokens[0], targets[0], max_batch=3)
    for client in range(3):
        plain = copy.deepcopy(small()).double()
        plain.load_state_dict(stacked.state_dict(x[client]))
        logits = plain.eval()(tokens[0])
        assert correct[client] == (logits.argmax(1) == targets[0]).sum()
        assert_close(loss[client], F.cross_entropy(logits, targets[0]), rtol=0, atol=1e-12)


def test_without_dropout_no_key_is_needed():
    assert not Stacked(small(dropout=0.0)).random
    stacked, *batch = clients(small(dropout=0.0))
    assert stacked.gradients(*batch)[1].isfinite().all()
    assert Stacked(small()).random


def test_bf16_stays_near_the_gradient_of_float32():
    exact, *batch = clients(small(), precision="float32")
    rough = Stacked(small(), precision="bf16")
    g, h = (stacked.gradients(*batch, [1, 2, 3])[1] for stacked in (exact, rough))
    assert h.dtype == torch.float32
    assert (F.cosine_similarity(g, h, dim=1) > 0.95).all()


class TiedReader(Reader):
    """Its output layer is its embedding."""

    def __init__(self):
        super().__init__(pad=0)
        self.embedding, self.unused = nn.Embedding(5, 4), nn.Linear(4, 5)
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("places", torch.arange(9))

    def forward(self, tokens):
        return self.head(self.embedding(tokens + self.places[:1]).mean(1))


def test_shared_weights_are_one_part_of_the_row_and_unused_ones_stand_still():
    module = TiedReader().double()
    stacked = Stacked(module, precision="float64")
    assert stacked.num_params == 5 * 4 + 4 * 5 + 5
    assert stacked.num_buffers == 0  # whole numbers are no statistics
    tokens, targets = torch.tensor([[[1, 2], [3, 4]]]), torch.tensor([[0, 4]])
    x = stacked.initial_row()[None] * 2
    _, g, _ = stacked.gradients(x, x[:, :0], tokens, targets)

    plain = TiedReader().double()
    state = stacked.state_dict(x[0])
    assert torch.equal(state["head.weight"], 2 * module.embedding.weight)
    plain.load_state_dict(state)
    loss = F.cross_entropy(plain(tokens[0]), targets[0])
    (expected,) = torch.autograd.grad(loss, [plain.embedding.weight])
    assert_close(g[0, :20], expected.flatten(), rtol=0, atol=1e-12)
    assert g[0, 20:].eq(0).all()


@pytest.mark.parametrize("module", [small(), small(dropout=0.0), nn.Sequential(nn.Dropout(0.1))])
def test_vmap_cannot_run_texts_or_dropout(module):
    with pytest.raises(ConfigError, match="strategy vmap cannot run texts or dropout; use loop"):
        Stacked(module, strategy="vmap")


@pytest.mark.parametrize(
    ("params", "shape", "message"),
    [
        ({"heads": 3}, (5,), r"model.width must be a multiple of heads \(3\), got 128"),
        ({"dropout": 1.0}, (5,), "model.dropout must be in .0, 1., got 1.0"),
        ({"vocabulary": 1}, (5,), "model.vocabulary must be >= 2, got 1"),
        ({}, (3, 32, 32), "model transformer reads texts"),
    ],
)
def test_wrong_settings_are_one_clear_line(params, shape, message):
    with pytest.raises(ConfigError, match=message) as error:
        build_model("transformer", CLASSES, shape, **params)
    assert "\n" not in str(error.value)


# ---- pretrained


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny BERT, as `transformers` saves it: no head, dropout 0.1, position_ids."""
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=30,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=12,
    )
    folder = tmp_path_factory.mktemp("bert")
    with torch.random.fork_rng(devices=[]):
        transformers.BertModel(config).save_pretrained(folder)
    return str(folder)


def fine_tuned(folder, seed=0):
    return build_model("transformers", CLASSES, (LENGTH,), seed=seed, path=folder)


def test_pretrained_weights_are_kept_and_the_head_is_drawn_by_the_seed(folder, capfd):
    one, same, other = (fine_tuned(folder, seed) for seed in (1, 1, 2))
    output = capfd.readouterr()
    assert output.out == output.err == ""  # no progress bars, no reports
    assert one.fresh == {"classifier.weight", "classifier.bias"}
    for (name, p), q, r in zip(
        one.network.named_parameters(), same.parameters(), other.parameters(), strict=True
    ):
        assert torch.equal(p, q)
        assert torch.equal(p, r) == (name != "classifier.weight")
    assert one.network.classifier.bias.eq(0).all()
    assert 0 < one.network.classifier.weight.std() < 0.06  # N(0, 0.02)

    import safetensors.torch

    stored = safetensors.torch.load_file(f"{folder}/model.safetensors")
    words = one.network.bert.embeddings.word_embeddings.weight
    assert torch.equal(words, stored["embeddings.word_embeddings.weight"])


def test_a_pretrained_model_gives_the_gradients_of_plain_pytorch(folder):
    module = fine_tuned(folder)
    stacked, x, buffers, tokens, targets = clients(module, k=2)
    assert (stacked.random, stacked.strategy, stacked.num_buffers) == (True, "loop", 0)
    _, g, _ = stacked.gradients(x, buffers, tokens, targets, [3, 4])
    for client in range(2):
        expected = plain_gradient(
            stacked, module, x[client], client + 3, tokens[client], targets[client]
        )
        assert_close(g[client], expected, rtol=0, atol=1e-12)


def test_padding_is_masked_in_a_pretrained_model(folder):
    model = fine_tuned(folder).double().eval()
    tokens = texts(4)
    for row, logits in zip(tokens, model(tokens), strict=True):
        assert_close(model(row[row > 0][None])[0], logits, rtol=0, atol=1e-12)


def test_a_pretrained_model_is_multiplied_once_with_every_linear_weight_per_token(folder):
    width, wide = 8, 16
    per_token = 2 * (4 * width**2 + 2 * width * wide)
    once = width**2 + width * CLASSES  # the pooler and the head see the first token only
    cost = blueprint("transformers", path=folder).cost(CLASSES, (LENGTH,))
    assert cost.num_params == sum(p.numel() for p in fine_tuned(folder).parameters())
    assert cost.multiply_adds == LENGTH * per_token + once


def test_a_relative_folder_becomes_absolute(folder, monkeypatch, tmp_path):
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    assert MODELS["transformers"].params(path="model").path == str(tmp_path / "model")
    assert MODELS["distilbert"].params().path == "distilbert/distilbert-base-uncased"


def test_a_path_or_a_name_on_the_hub_is_a_model_too(tmp_path, monkeypatch):
    assert by_path("mlp", {"hidden": ()}) == ("mlp", {"hidden": ()})
    assert by_path("mpl", {}) == ("mpl", {})  # refused later, with a better guess
    assert by_path("someone/some-bert", {}) == ("transformers", {"path": "someone/some-bert"})
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    assert by_path("here", {}) == ("transformers", {"path": "here"})


def test_a_model_says_how_it_reads(folder):
    assert tokenizer_of("mlp", MODELS["mlp"].params()) is None
    assert tokenizer_of("transformer", MODELS["transformer"].params(vocabulary=50)) == "words:50"
    assert tokenizer_of("transformers", MODELS["transformers"].params(path=folder)) == folder


def test_what_is_not_there_is_named(folder, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="model.path must be a folder or a name"):
        build_model("transformers", CLASSES, (LENGTH,))
    with pytest.raises(ConfigError, match="dataset.length must be <= 12 for .*, got 13"):
        build_model("transformers", CLASSES, (13,), path=folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty.*no AutoModel.*set model.path") as error:
        build_model("transformers", CLASSES, (LENGTH,), path=str(tmp_path / "empty"))
    assert "\n" not in str(error.value)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"pip install 'p2pqg\[text\]'"):
        build_model("transformers", CLASSES, (LENGTH,), path=folder)


# ---- the lower layers frozen


def halves(folder, shape=(LENGTH,), trained_layers=1):
    return build_model("transformers", CLASSES, shape, path=folder, trained_layers=trained_layers)


@pytest.mark.parametrize("trained_layers", [0, 1, 2])
def test_both_halves_are_the_whole(folder, trained_layers):
    whole, cut = fine_tuned(folder).eval(), halves(folder, (LENGTH,), trained_layers).eval()
    upper = halves(folder, (LENGTH, 8), trained_layers).eval()
    tokens = texts(5)
    states = cut.states(tokens)
    assert states.shape == (5, LENGTH, 8)
    assert states[tokens == 0].eq(0).all()
    assert_close(cut(tokens), whole(tokens), rtol=1e-5, atol=1e-6)
    for model in (cut, upper):
        assert_close(model(states), whole(tokens), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("trained_layers", [0, 1, 2])
def test_what_reads_states_has_the_trained_tensors_and_no_others(folder, trained_layers):
    cut = halves(folder, (LENGTH,), trained_layers)
    trained = {name: p for name, p in cut.named_parameters() if p.requires_grad}
    upper = dict(halves(folder, (LENGTH, 8), trained_layers).named_parameters())
    assert list(upper) == list(trained)
    assert all(torch.equal(upper[name], p) for name, p in trained.items())


def test_the_frozen_layers_are_computed_where_the_run_is(folder, monkeypatch):
    params = MODELS["transformers"].params(path=folder, trained_layers=1)
    x, y = texts(4, seed=9).numpy(), torch.arange(4).numpy() % CLASSES
    arrays, asked = Arrays(x, y, x[:2], y[:2], num_classes=CLASSES), []

    def compute(encoder, tokens):
        asked.append(encoder.place)
        return tokens[..., None].astype("float32")

    monkeypatch.setattr(Encoder, "__call__", compute)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    seen = {d: encoded(arrays, encoder_of("transformers", params, d)) for d in ("cuda", "cpu")}
    encoded(arrays, encoder_of("transformers", params, "auto"))  # as "cuda": nothing is computed
    assert asked == ["cuda", "cuda", "cpu", "cpu"]
    assert seen["cuda"].frozen == seen["cpu"].frozen
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert encoder_of("transformers", params, "auto").place == "cpu"


def test_the_upper_half_has_the_gradients_of_the_whole_and_the_lower_has_none(folder):
    whole, cut = fine_tuned(folder).double().eval(), halves(folder).double().eval()
    tokens, targets = texts(5), torch.tensor([0, 1, 2, 1, 0])
    for model in (whole, cut):
        F.cross_entropy(model(tokens), targets).backward()
    upper = whole.network.bert.encoder.layer[1]
    mine = cut.network.bert.encoder.layer[0]
    for expected, found in zip(upper.parameters(), mine.parameters(), strict=True):
        assert_close(found.grad, expected.grad, rtol=0, atol=1e-12)
    trained = {name for name, p in cut.named_parameters() if p.requires_grad}
    assert {name.split(".")[0] for name in trained} == {"network"}
    assert not any("embeddings" in name for name in trained)


def test_frozen_layers_drop_nothing_in_training(folder):
    cut = halves(folder).train()
    assert torch.equal(cut.states(texts(5)), cut.states(texts(5)))
    assert cut.network.training
    assert not cut.lower.training


def test_states_are_computed_once_for_the_same_texts_and_layers(folder, monkeypatch):
    encoder = encoder_of(
        "transformers", MODELS["transformers"].params(path=folder, trained_layers=1)
    )
    assert encoder_of("transformers", MODELS["transformers"].params(path=folder)) is None
    assert encoder_of("mlp", MODELS["mlp"].params()) is None
    x, y = texts(6, seed=3).numpy(), torch.arange(6).numpy() % CLASSES
    arrays = Arrays(x, y, x[:2], y[:2], num_classes=CLASSES)
    first = encoded(arrays, encoder)
    assert_close(torch.tensor(first.train_x), halves(folder).eval().states(texts(6, seed=3)))
    monkeypatch.setattr(Encoder, "__call__", None)  # it is not called again
    assert (encoded(arrays, encoder).test_x == first.test_x).all()
    with pytest.raises(TypeError):  # but for other layers it is
        encoded(arrays, Encoder(folder, 2))


def test_torch_has_its_threads_again_where_the_frozen_layers_fail(monkeypatch):
    told, before = [], torch.get_num_threads()
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    with pytest.raises(MemoryError), _single_threads():
        raise MemoryError
    assert told[-1:] == [before]


def test_a_run_on_states_has_the_models_of_a_run_on_tokens(folder, monkeypatch):
    found = []
    for _ in range(2):
        with Simulation(
            **half_trained(folder), algorithm="qg-dsgdm-n", lr=0.5, validation=0.2
        ) as sim:
            sim.advance(3)
            found.append(sim.parameters())
        monkeypatch.setattr(learning, "encoded", lambda arrays, encoder: arrays)
    assert_close(*found, rtol=0, atol=1e-6)


def half_trained(path):
    """Settings of three rounds in which the upper half learns from sixty texts."""
    tokens = texts(60, seed=5).numpy()
    return {
        "dataset": (tokens, (tokens[:, 0] > 15).astype(int)),
        "model": {"name": "transformers", "path": str(path), "trained_layers": 1},
        "topology": "ring4",
        "rounds": 3,
        "batch_size": 4,
        "engine": "local",
    }


def test_a_run_trains_the_upper_half_alone_and_its_models_read_tokens(folder, tmp_path):
    ran = run(**half_trained(folder), checkpoint_every=1e9, out=tmp_path, name="texts")
    before = halves(folder).state_dict()
    module = load(ran.path).model(0)
    for name, now in module.state_dict().items():
        if name.startswith("lower."):
            assert torch.equal(now, before[name])
    moved = "network.bert.encoder.layer.0.output.dense.weight"
    assert not torch.equal(module.state_dict()[moved], before[moved])
    assert module(texts(2)).shape == (2, 2)


def test_who_goes_on_above_other_frozen_layers_is_told(folder, tmp_path, recwarn):
    mine = shutil.copytree(folder, tmp_path / "mine")
    with Simulation(**half_trained(mine)) as sim:
        sim.advance(1)
        sim.checkpoint(tmp_path / "saved")
    recwarn.clear()  # of the new one
    with Simulation.restore(tmp_path / "saved") as same:
        assert same.round == 1
    assert not recwarn
    config = (mine / "config.json").read_text(encoding="utf-8")
    (mine / "config.json").write_text(config + "\n", encoding="utf-8")
    told = "the frozen layers at model.path are not those that the run began with"
    with pytest.warns(UserWarning, match=told), Simulation.restore(tmp_path / "saved"):
        pass


def test_exported_models_of_all_layers_need_their_folder_no_more(folder, tmp_path):
    mine = shutil.copytree(folder, tmp_path / "mine")
    settings = half_trained(mine)
    settings["model"] = {"name": "transformers", "path": str(mine)}
    ran = run(**settings, checkpoint_every=1e9, out=tmp_path, name="texts")
    said = ran.model("averaged")(texts(5))
    ran.save_models(tmp_path / "models")
    shutil.rmtree(mine)
    scope = {"__file__": str(tmp_path / "models" / "load.py")}
    exec((tmp_path / "models" / "load.py").read_text(encoding="utf-8"), scope)
    assert torch.equal(scope["load"]("averaged")(texts(5)), said)


def test_a_config_alone_is_a_network_whose_weights_the_seed_draws(folder):
    def built(seed):
        return build_model("transformers", CLASSES, (LENGTH,), seed, path=f"{folder}/config.json")

    state = torch.random.get_rng_state()
    one, again, other = built(1), built(1), built(2)
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, weight in one.named_parameters():
        assert torch.equal(weight, dict(again.named_parameters())[name])
    name = "network.bert.encoder.layer.0.output.dense.weight"
    assert not torch.equal(one.state_dict()[name], other.state_dict()[name])


def test_models_come_out_above_their_own_frozen_layers_or_not_at_all(folder, tmp_path):
    mine = shutil.copytree(folder, tmp_path / "mine")
    ran = run(**half_trained(mine), checkpoint_every=1e9, out=tmp_path, name="texts")
    said = ran.model(0)(texts(5))
    ran.save_models(tmp_path / "models")
    with safe_open(mine / "model.safetensors", "pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no dict
    save_file({n: 2 * t for n, t in weights.items()}, mine / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConfigError, match=r"the frozen layers at model.path .* are not those"):
        load(ran.path).model(0)
    with pytest.raises(ConfigError, match=r"the frozen layers at model.path .* are not those"):
        load(ran.path).save_models(tmp_path / "more")
    config = (mine / "config.json").read_text(encoding="utf-8").replace('"gelu"', '"relu"')
    (mine / "config.json").write_text(config, encoding="utf-8")
    assert not torch.equal(halves(str(mine))(texts(5))[:, :2], said)
    scope = {"__file__": str(tmp_path / "models" / "load.py")}
    exec((tmp_path / "models" / "load.py").read_text(encoding="utf-8"), scope)
    assert torch.equal(scope["load"]("client-0")(texts(5)), said)  # its file has the old ones


@pytest.mark.parametrize(
    ("trained_layers", "message"),
    [
        (3, "model.trained_layers must be <= 2 for"),
        (-1, "model.trained_layers must be >= 0, got -1"),
        (0.5, "model.trained_layers must be an integer or nothing, got 0.5"),
    ],
)
def test_wrong_numbers_of_layers_are_one_clear_line(folder, trained_layers, message):
    with pytest.raises(ConfigError, match=message):
        halves(folder, trained_layers=trained_layers)


def test_a_network_that_cannot_be_cut_is_refused(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=30, n_embd=8, n_layer=2, n_head=2, n_positions=12)
    with torch.random.fork_rng(devices=[]):
        transformers.GPT2Model(config).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="is not a stack of layers over embeddings, as BERT is"):
        halves(str(tmp_path))
