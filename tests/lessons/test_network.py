"""The drawn network is the learner's: its sizes, its parameters, what is frozen, also after `freeze_to`."""

import pytest
import torch
from torch import nn

from helpers.learner import Learner
from helpers.lessons.network import draw_body_and_head, draw_network, print_groups, stages_of


def words(drawing):
    return [text.get_text() for text in drawing.figure.axes[0].texts]


def pale_boxes(drawing):
    return sum(patch.get_hatch() is not None for patch in drawing.figure.axes[0].patches)


@pytest.mark.parametrize("first_trained", [0, 1, -1])
def test_every_parameter_is_drawn_once_and_frozen_ones_are_marked(learn, first_trained):
    learn.freeze_to(first_trained)
    stages = stages_of(learn)
    parameters = list(learn.model.parameters())
    assert sum(stage.parameters for stage in stages) == sum(p.numel() for p in parameters)
    trained = sum(stage.parameters for stage in stages if stage.trains)
    assert trained == sum(p.numel() for p in parameters if p.requires_grad)
    for index, modules in enumerate(learn.groups):
        own = sum(p.numel() for module in modules for p in module.parameters())
        assert own == sum(stage.parameters for stage in stages if stage.group == index)
        assert any(f"{own:,} parameters" in line for line in words(draw_network(learn)))


def test_sides_and_channels_are_those_of_the_feature_maps(learn):
    seen = []
    hooks = [
        part.register_forward_hook(lambda m, given, output: seen.append(output.shape)) for part in learn.model.body
    ]
    learn.model.eval()(torch.rand(1, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    drawn = [(stage.channels, stage.side_px) for stage in stages_of(learn)]
    assert drawn[-2] == (seen[-1][1], seen[-1][2]) and set(drawn[:-1]) <= {(s[1], s[2]) for s in seen}
    assert drawn[-1] == (2, 1)
    channels = [text for text in words(draw_network(learn)) if text.isdigit()]
    assert sorted(channels) == sorted(str(value) for pair in [(3, 32), *drawn] for value in pair)


def test_the_drawing_changes_with_freeze_to_and_shows_the_rates(learn):
    frozen = draw_network(learn, 0.002)
    assert frozen.text.count("frozen") == 2 and "head: " in frozen.text and "trains at a rate of 0.002" in frozen.text
    learn.unfreeze()
    free = draw_network(learn, slice(1e-4, 1e-2))
    assert "frozen" not in free.text and pale_boxes(free) == 0 < pale_boxes(frozen)
    for rate in ("1e-4", "0.001", "0.01"):
        assert f"trains at a rate of {rate.replace('1e-4', '0.0001')}." in free.text
    assert "at a rate" not in draw_network(learn).text


def test_a_network_of_ones_own_is_one_group(data):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    learn = Learner(data, module)
    assert [(s.channels, s.parameters, s.trains) for s in stages_of(learn)] == [(2, 3 * 4 * 9 + 4 + 10, True)]
    assert "Sequential, 122 parameters" in words(draw_network(learn))


def test_body_and_head_says_how_many_features_the_head_reads(learn):
    drawing = draw_body_and_head(learn)
    features = learn.model.features(torch.rand(1, 3, 32, 32)).shape[1]
    assert f"{features:,} features come out" in drawing.text and f"{features:,}\nfeatures" in words(drawing)
    assert drawing.png().startswith(b"\x89PNG")


def test_the_table_of_groups_counts_what_trains(learn, capsys):
    """Catches a table that does not add up to the model."""
    learn.freeze_to(1)
    print_groups(learn)
    title, _, *rows = capsys.readouterr().out.splitlines()
    assert title == "test_resnet, 2 classes, 32 px, cached features"
    numbers = [[int(word.replace(",", "")) for word in row.split()[1:4]] for row in rows]
    assert [row.split()[0] for row in rows] == ["0", "1", "head"]
    assert [row.split()[-1] for row in rows] == ["frozen", "trains", "trains"]
    assert sum(row[1] for row in numbers) == sum(p.numel() for p in learn.model.parameters())
    assert [row[2] for row in numbers] == [0, numbers[1][1], numbers[2][1]]


def test_the_table_says_which_statistics_stay(learn, capsys):
    """Catches a table that calls a group trained whose BatchNorm does not change."""
    learn.bn_freeze(True)
    learn.freeze_to(1)
    print_groups(learn)
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split("  ")[-1] for row in rows] == ["frozen", "statistics frozen", "trains"]
