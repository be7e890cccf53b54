"""Near copies: the index against comparing every pair, and what a thumbnail does not depend on."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from data_setup.check import near
from data_setup.check.near import SIDE, near_pairs, thumbnail
from tests.data_setup.messy_pictures import texture


def cosine(first: bytes, second: bytes) -> float:
    """As the text books have it, in Python's own numbers; mirrored, if that is more."""
    tables = [np.frombuffer(look, np.uint8).reshape(SIDE, SIDE).astype(float) for look in (first, second)]
    found = []
    for one in (tables[0], tables[0][:, ::-1]):
        a, b = one - one.mean(), tables[1] - tables[1].mean()
        found.append((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))
    return max(found)


def drawn_looks(rng, n):
    """`n` thumbnails, many of them changed or mirrored copies of earlier ones."""
    looks = []
    for _ in range(n):
        kind = rng.integers(4) if looks else 0
        table = rng.integers(0, 256, (SIDE, SIDE))
        if kind:
            earlier = np.frombuffer(looks[rng.integers(len(looks))], np.uint8).reshape(SIDE, SIDE).astype(int)
            table = earlier + rng.integers(-9, 10, earlier.shape) * (kind - 1)
            table = table[:, :: rng.choice([-1, 1])]
        looks.append(np.clip(table, 0, 255).astype(np.uint8).tobytes())
    return looks


@settings(deadline=None, max_examples=40)
@given(n=st.integers(0, 40), parts=st.integers(1, 3), tile=st.integers(1, 9), seed=st.integers(0, 999))
def test_each_is_paired_with_the_most_similar_and_the_most_similar_of_another_part(n, parts, tile, seed):
    """Against all pairs. Catches a tile that is left out, a bound that is none, a mirrored copy, a partner too few."""
    rng = np.random.default_rng(seed)
    looks, part = drawn_looks(rng, n), rng.integers(0, parts, n).tolist()
    before, near.TILE, near.CHUNK = (near.TILE, near.CHUNK), tile, 2 * tile + 1
    try:
        found = near_pairs(looks, part, least=0.99)
    finally:
        near.TILE, near.CHUNK = before
    table = np.array(
        [[cosine(one, other) if i != j else -1 for j, other in enumerate(looks)] for i, one in enumerate(looks)]
    )
    best_of = {}  # row -> its largest cosine, of all and of those in another part
    for i in range(n):
        pools = [j for j in range(n) if j != i], [j for j in range(n) if part[j] != part[i]]
        best_of[i] = [(table[i, pool].max(), set(pool)) for pool in pools if pool]
    pairs = {frozenset((i, j)): similarity for i, j, similarity in found}
    for i, best, pool in ((i, *one) for i, bests in best_of.items() for one in bests):
        partners = [j for j in pool if abs(pairs.get(frozenset((i, j)), 0) - best) < 1e-6]
        assert partners or best < 0.99 + 1e-6
    for i, j, similarity in found:
        assert i < j and abs(similarity - table[i, j]) < 1e-6
        assert any(abs(best - similarity) < 1e-6 for row in (i, j) for best, _ in best_of[row])


def test_the_bound_is_a_tenth_of_the_way_to_the_third_nearest(monkeypatch):
    """Against all cosines. Catches a tile that is left out, the picture itself counted, too large a sample."""
    rng = np.random.default_rng(1)
    waves = rng.normal(size=(200, 6)) @ rng.normal(size=(6, SIDE * SIDE))
    table = np.clip(128 + 30 * waves, 0, 255).astype(np.uint8).reshape(-1, SIDE, SIDE)
    all_of_them = np.array([[cosine(one.tobytes(), other.tobytes()) for other in table] for one in table[::5]])
    third = np.sort(all_of_them, axis=1)[:, -4]
    monkeypatch.setattr(near, "TILE", 50)
    monkeypatch.setattr(near, "SAMPLE", 40)
    bound = 1 - (1 - np.quantile(third, 0.99)) / 10
    assert near.LEAST < bound < near.SAME and abs(near.same_here(table) - bound) < 1e-5
    assert near.same_here(table[:199]) == near.SAME, "too few tell nothing"
    assert near.same_here(rng.integers(0, 256, (200, SIDE, SIDE)).astype(np.uint8)) == near.LEAST
    assert near.same_here(np.clip(table // 40 + np.arange(SIDE) * 12, 0, 255).astype(np.uint8)) == near.SAME


def test_copies_with_clipped_highlights_are_found_where_pictures_differ():
    """0.9985 finds half of them."""
    rng = np.random.default_rng(4)
    images = [texture(rng, (48, 40), 2) for _ in range(200)]
    copies = [ImageEnhance.Brightness(image).enhance(1.5) for image in images[:40]]
    found = near_pairs([thumbnail(image) for image in images + copies], [0] * 240)
    assert {(i, j) for i, j, _ in found} == {(number, 200 + number) for number in range(40)}
    assert sum(similarity < near.SAME for _, _, similarity in found) > 10


def test_coarse_comparison_is_never_below_the_cosine():
    """The bound that makes the search exact, mirrored or not."""
    rng = np.random.default_rng(0)
    table = np.frombuffer(b"".join(drawn_looks(rng, 60)), np.uint8).reshape(-1, SIDE, SIDE)
    even, odd = near._coarse(table)
    bound = even @ even.T + np.abs(odd @ odd.T)
    exact = np.array([[cosine(one.tobytes(), other.tobytes()) for other in table] for one in table])
    assert (bound >= exact - 1e-5).all() and np.abs(bound - exact).max() < 1
    assert (bound < 0.9985).mean() > 0.5  # it spares most of the work


def test_a_thumbnail_does_not_depend_on_size_or_contrast_but_on_what_is_seen():
    rng = np.random.default_rng(3)
    image = texture(rng, (120, 90), 2)
    small = image.resize((60, 45), Image.Resampling.BICUBIC)
    darker = image.point(lambda level: level * 0.8 + 5)
    assert (
        min(cosine(thumbnail(image), thumbnail(other)) for other in (small, darker, ImageOps.mirror(image))) > near.SAME
    )
    assert cosine(thumbnail(image), thumbnail(texture(rng, (120, 90), 2))) < 0.9
    assert cosine(thumbnail(image), thumbnail(ImageOps.flip(image))) < 0.9


def test_an_empty_picture_has_no_thumbnail():
    assert thumbnail(Image.new("RGB", (40, 30), "white")) == b""
    assert len(thumbnail(texture(np.random.default_rng(0), (40, 30), 1))) == SIDE * SIDE
