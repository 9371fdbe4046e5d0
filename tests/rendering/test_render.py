"""Properties of rendered raindrops; what they look like is a matter for eyes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from configs.rendering import get_config
from raindrop.data.rendered_pairs import render_folder
from raindrop.errors import UserError
from raindrop.media.pictures import read_image, write_image
from raindrop.rendering.camera import (
    aperture_transfer,
    check_transforms,
    grade,
    sharpen,
)
from raindrop.rendering.light import darken, refract, to_encoded, to_linear
from raindrop.rendering.render import example, render
from raindrop.rendering.settings import Settings

# Beads and blobs on every pane. Two kinds, as each adds to the time of compilation.
WET = dataclasses.replace(
    Settings(**get_config()),
    dry=0.0,
    cell=(12, 40),
    radius=((2.5, 6.0), (8.0, 20.0)),
    presence=(1.0, 1.0),
    density=((0.1, 0.5), (0.1, 0.5)),
    crowded=0.0,
    crowd=((0.0, 0.0),) * 2,
    trails=((0.0, 0.2),) * 2,
    closeness=(0.55, 1.0),
    enlarged=0.0,
    enlargement=(1.0, 1.0),
    elongation=(0.8, 1.2),
    irregularity=(0.01, 0.06),
    contact=(40.0, 89.0),
    tilted=1.0,
    view=(30.0, 55.0),
    surroundings=(0.15, 1.2),
    sky=(0.3, 4.0),
    shining=1.0,
    sharp=0.0,
    graded=0.0,
    sharpened=0.0,
    compressed=0.0,
)
CALM = {"veil": (0.0, 0.0), "exposure": (0.0, 0.0), "noise": (0.0, 0.0)}

draw = jax.jit(render, static_argnums=2)


@functools.cache
def photograph(height=96, width=128):
    """A scene with a bright top, and texture."""
    rng = np.random.default_rng(0)
    scene = np.linspace(0.9, 0.2, height)[:, None, None] * np.ones((1, width, 3))
    return (scene + rng.uniform(-0.1, 0.1, (height, width, 3))).astype(np.float32)


def test_dry_pane_is_the_photograph_itself():
    for settings in (
        dataclasses.replace(WET, dry=1.0),
        dataclasses.replace(WET, presence=(0.0, 0.0), noise=(0.0, 0.0)),
    ):
        rainy, mask = draw(jax.random.key(3), photograph(), settings)
        np.testing.assert_array_equal(rainy, photograph())
        assert not mask.any()


def test_a_crowded_pane_carries_every_kind_of_its_crowd():
    crowd = {"presence": (0.0, 0.0), "crowded": 1.0, "crowd": ((0.9, 0.9), (0.0, 0.0))}
    settings = dataclasses.replace(WET, **crowd, defocus=(1.0, 1.0))
    _, mask = draw(jax.random.key(3), photograph(), settings)
    assert ndimage.label(np.asarray(mask)[..., 0])[1] > 20


def test_nothing_changes_away_from_the_drops():
    """Exactly nothing without the pane's global terms, little with them."""
    calm = dataclasses.replace(
        WET,
        **CALM,
        defocus=(2.0, 4.0),
        density=((0.05, 0.1),) * 2,
        mask_coverage=0.02,  # with drops too small and blurred to hide much
    )
    changes = []
    for settings in (calm, dataclasses.replace(calm, veil=WET.veil)):
        rainy, mask = draw(jax.random.key(2), photograph(), settings)
        drops = np.asarray(mask)[..., 0] > 0
        away = ~ndimage.binary_dilation(drops, iterations=8)
        assert 0.01 < drops.mean() < 0.7
        assert away.mean() > 0.1
        change = np.abs(np.asarray(rainy) - photograph())
        assert change[drops].mean() > 0.05
        changes.append(change[away].max())
    assert changes[0] == 0
    assert 0 < changes[1] < 0.15


def test_values_and_masks_are_in_range_for_any_size_and_rule():
    for shape, rule in (((64, 96), "geometry"), ((75, 51), "difference")):
        clean = photograph(*shape)
        settings = dataclasses.replace(WET, mask_rule=rule)
        rainy, mask = draw(jax.random.key(5), clean, settings)
        assert rainy.shape == clean.shape and rainy.dtype == jnp.float32
        assert mask.shape == (*shape, 1)
        assert np.isfinite(rainy).all() and rainy.min() >= 0 and rainy.max() <= 1
        assert set(np.unique(mask)) == {0.0, 1.0}
        if rule == "difference":
            expected = np.abs(rainy - clean).max(-1, keepdims=True) > 30 / 255
            np.testing.assert_array_equal(mask, expected)


def test_same_key_same_picture_alone_in_a_batch_and_on_eight_devices():
    if jax.device_count() < 8:
        pytest.skip("needs 8 devices; tests/conftest.py makes them")
    keys = jax.random.split(jax.random.key(0), 8)
    clean = jnp.stack([photograph(64, 64) * (0.5 + i / 16) for i in range(8)])
    of = functools.partial(render, settings=WET)
    batch, masks = jax.jit(jax.vmap(of))(keys, clean)
    spread, spread_masks = jax.pmap(of)(keys, clean)
    np.testing.assert_allclose(spread, batch, atol=1e-4)
    assert np.mean(spread_masks != masks) < 1e-3
    alone, _ = draw(keys[3], clean[3], WET)
    np.testing.assert_allclose(alone, batch[3], atol=1e-4)
    np.testing.assert_array_equal(alone, draw(keys[3], clean[3], WET)[0])
    assert np.abs(batch[0] / 0.5 - batch[1] / 0.5625).max() > 0.1  # other drops


def test_bfloat16_stays_bfloat16():
    rainy, mask = draw(jax.random.key(0), photograph().astype(jnp.bfloat16), WET)
    assert rainy.dtype == mask.dtype == jnp.bfloat16


def test_rays_obey_snell_and_reflect_totally():
    index = 1.333
    angles = np.radians([0.0, 20.0, 40.0, 48.0, 49.0, 80.0])
    slope = np.stack([np.sin(angles), np.zeros(6)], -1)[None].astype(np.float32)
    directions, transmittance = refract(jnp.asarray(slope), 1e-6, 0.0, 0.0, index)
    expected = -np.sin(np.arcsin(index * np.sin(angles[:4])) - angles[:4])
    np.testing.assert_allclose(directions[0, :4, 0], expected, atol=1e-3)
    assert transmittance[0, 0, 0] == pytest.approx(1 - (0.333 / 2.333) ** 2, abs=1e-4)
    assert (np.diff(transmittance[0, :4, 0]) < 1e-6).all()
    np.testing.assert_array_equal(transmittance[0, 4:], 0)  # beyond 48.6 degrees


def test_a_tilted_pane_obeys_snell_in_its_own_axes():
    tilt, normal = np.radians(50.0), np.radians(12.0)
    lean = jnp.full((1, 1, 2), jnp.array([0.0, np.sin(normal)]))
    (across, down), passed = (x[0, 0] for x in refract(lean, 0.5, tilt, 0.0, 1.333))
    assert across == 0
    # In the pane's plane of incidence: into water, out of it, and back to the camera.
    within = np.arcsin(np.sin(tilt) / 1.333)
    out = np.arcsin(1.333 * np.sin(within - normal)) + normal
    assert down == pytest.approx(np.sin(out - tilt), abs=1e-5)
    assert passed > 0.9
    flat = jnp.zeros((48, 64, 2))
    rays, passed = refract(flat, np.radians(28.0), tilt, np.radians(8.0), 1.333)
    half = np.sin(np.radians(28.0)) / 32
    expected = (np.arange(64) - 31.5) * half, (np.arange(48)[:, None] - 23.5) * half
    np.testing.assert_allclose(rays[..., 0], np.tile(expected[0], (48, 1)), atol=1e-5)
    np.testing.assert_allclose(rays[..., 1], np.tile(expected[1], (1, 64)), atol=1e-5)
    assert (passed > 0.6).all()


def test_drops_of_a_windscreen_are_flattest_at_its_foot():
    settings = dataclasses.replace(
        WET,
        **CALM,
        **{"tilted": 1.0, "tilt": (50.0, 50.0), "view": (60.0, 60.0)},
        **{"sharp": 1.0, "sharp_defocus": (0.3, 0.3), "slant": (0.0, 0.0)},
    )
    changes = np.zeros((2, 2))  # of the mask: at the top and at the foot; down, across
    for i in range(8):
        _, mask = draw(jax.random.key(i), photograph(), settings)
        for part, rows in enumerate((slice(None, 32), slice(64, None))):
            drops = np.asarray(mask)[rows, :, 0]
            changes[part] += [abs(np.diff(drops, axis=axis)).sum() for axis in (0, 1)]
    flatness = changes[:, 0] / changes[:, 1]
    assert flatness[1] > 1.3 * flatness[0]


def test_light_there_and_back():
    values = jnp.linspace(0, 1, 256)
    np.testing.assert_allclose(to_encoded(to_linear(values)), values, atol=1e-6)


@pytest.mark.parametrize(
    ("blades", "area"),
    [(1e3, np.pi), (6, 1.5 * 3**0.5), (5, 2.5 * np.sin(0.4 * np.pi))],
)
def test_a_point_of_light_shows_the_aperture(blades, area):
    """Evenly lit, of the area of its polygon, and nothing beyond its corners."""
    radius = 12.0
    outline = jnp.float32(blades), 0.3, 1.0
    transfer = aperture_transfer((64, 48), radius, outline, (0.0, 1.0, 0.5), 0.0)
    image = np.fft.fftshift(np.fft.irfft2(transfer, s=(64, 48)))
    y, x = np.mgrid[-32:32, -24:24]
    assert image.sum() == pytest.approx(1, abs=1e-4)
    inside = np.hypot(y, x) < radius * np.cos(np.pi / 5) - 1
    level = 1 / (area * radius**2)
    np.testing.assert_allclose(image[inside], level, rtol=0.03)
    np.testing.assert_allclose(image[np.hypot(y, x) > radius + 1], 0, atol=1e-6)
    transfer = aperture_transfer((64, 48), radius, outline, (2.0, 0.5, 0.5), 0.0)
    bright = np.fft.fftshift(np.fft.irfft2(transfer, s=(64, 48)))
    rim = inside & (np.hypot(y, x) > radius * np.cos(np.pi / 5) - 2)
    assert bright.sum() == pytest.approx(1, abs=1e-4)
    assert bright[rim].mean() > 1.3 * bright[32, 24]


def test_a_thin_rim_and_rings_of_dots():
    disc = jnp.float32(1e3), 0.3, 1.0
    y, x = np.mgrid[-32:32, -24:24]
    away = np.hypot(y, x)
    images = []
    for within in (0.0, 1.0):
        transfer = aperture_transfer((64, 48), 12.0, disc, (6.0, 2.0, within), 0.0)
        images.append(np.fft.fftshift(np.fft.irfft2(transfer, s=(64, 48))))
    thin, dotted = images
    inside = away < 8
    rim = (away > 10.5) & (away < 11.5)
    assert thin[rim].mean() > 2 * thin[inside].mean()
    assert np.std(thin[inside]) < 0.2 * np.mean(thin[inside])
    assert np.std(dotted[inside]) > 0.3 * np.mean(dotted[inside])


def test_a_squeezed_aperture_is_as_wide_as_it_says_along_its_turn():
    outline, even = (1e3, np.pi / 2, 0.5), (0.0, 1.0, 0.0)
    transfer = aperture_transfer((64, 48), 12.0, outline, even, 0.0)
    image = np.fft.fftshift(np.fft.irfft2(transfer, s=(64, 48)))
    height, width = (np.ptp(np.flatnonzero(image.sum(a) > 1e-3)) for a in (1, 0))
    assert height == pytest.approx(12, abs=2)
    assert width == pytest.approx(24, abs=2)


def test_a_pane_in_focus_does_not_ring():
    for sigma in (0.25, 0.5):
        disc, even = (1e3, 0.3, 1.0), (0.0, 1.0, 0.0)
        point = aperture_transfer((64, 48), 0.3, disc, even, sigma)
        assert np.fft.irfft2(point, s=(64, 48)).min() > -1e-6


def test_libraries_that_would_hang_are_named(monkeypatch):
    check_transforms()
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.11.2")
    with pytest.raises(UserError, match=r"jaxlib 0\.11\.2 hangs"):
        check_transforms()


def test_a_camera_focused_on_the_pane_blurs_the_scene_and_its_ground_truth():
    settings = dataclasses.replace(WET, dry=1.0, dark=0.0, sharp=1.0, deep=0.5)
    keys = jax.random.split(jax.random.key(0), 16)
    made = jax.jit(jax.vmap(lambda key: example(key, photograph(), settings)))(keys)
    np.testing.assert_array_equal(made.rainy, made.clean)
    sharp = np.array([(clean == photograph()).all() for clean in made.clean])
    assert 4 <= sharp.sum() <= 12
    blurred = np.asarray(made.clean)[~sharp]
    detail = [np.abs(np.diff(x, axis=-2)).mean() for x in (blurred, photograph())]
    assert detail[0] < 0.5 * detail[1]
    assert blurred.mean() == pytest.approx(photograph().mean(), abs=0.05)


def test_lamps_in_drops_stay_white_out_of_focus():
    """Light is clipped after the blur: a bright lamp fills the aperture's image."""
    dark = np.full((96, 96, 3), 0.05, np.float32)
    settings = dataclasses.replace(
        WET, **CALM, defocus=(6.0, 6.0), sky=(1.0, 1.0), highlight_jitter=0.0
    )
    whites = []
    for strength in (0.01, 100.0):
        lit = dataclasses.replace(settings, highlight=(strength, strength))
        rainy, _ = draw(jax.random.key(2), dark, lit)
        whites.append(np.mean(np.asarray(rainy) > 0.98))
    assert whites[0] == 0 and whites[1] > 0.02


def test_what_is_clipped_stays_white_in_a_shorter_exposure():
    """A photograph does not tell by how much a sky is brighter than white."""
    half = np.where(np.arange(128) < 64, 1, 0.9)[None, :, None]
    scene = np.broadcast_to(half, (96, 128, 3)).astype(np.float32)
    settings = dataclasses.replace(
        WET, **{**CALM, "exposure": (-6.0, -6.0)}, expansion=(8.0, 8.0)
    )
    rainy, mask = draw(jax.random.key(2), scene, settings)
    between = np.asarray(mask)[..., 0] == 0
    bright, grey = np.asarray(rainy)[:, :64], np.asarray(rainy)[:, 64:]
    assert np.median(bright[between[:, :64]]) > 0.999
    assert np.median(grey[between[:, 64:]]) < 0.87  # of 0.9


def test_an_enlarged_pane_has_larger_drops():
    settings = dataclasses.replace(
        WET, **CALM, sharp=1.0, deep=1.0, density=((0.5, 0.6),) * 2
    )
    _, mask = draw(jax.random.key(6), photograph(), settings)
    settings = dataclasses.replace(settings, enlarged=1.0, enlargement=(2.0, 2.0))
    _, large = draw(jax.random.key(6), photograph(), settings)
    middle = np.repeat(np.repeat(mask[24:72, 32:96], 2, 0), 2, 1)
    assert 0.05 < middle.mean() < 0.95
    assert (large == middle).mean() > 0.93


def test_drops_before_a_light_scene_are_dark_in_dark_surroundings():
    white = np.full((96, 128, 3), 0.9, np.float32)
    settings = dataclasses.replace(
        WET,
        **{**CALM, "sharp": 1.0, "deep": 1.0, "interior": (0.5, 0.5)},
        sharp_highlight=(1e-3, 1e-3),
    )
    # A steep pane's drops reflect the inside.
    settings = dataclasses.replace(settings, tilted=1.0, tilt=(0.0, 0.0))
    light = []
    for factor in (1.0, 0.1):
        settings = dataclasses.replace(
            settings, sky=(factor, factor), surroundings=(factor, factor)
        )
        rainy, mask = draw(jax.random.key(4), white, settings)
        drops = np.asarray(rainy)[np.asarray(mask)[..., 0] > 0]
        light.append(np.quantile(drops, 0.2))
    assert light[1] < light[0] - 0.03


def test_drops_before_a_narrow_view_show_mostly_what_is_around_it():
    white = np.full((96, 128, 3), 0.9, np.float32)
    settings = dataclasses.replace(
        WET,
        **CALM,
        **{"sharp": 1.0, "deep": 1.0, "tilted": 0.0, "upright": (0.0, 0.0)},
        **{"surroundings": (0.05, 0.05), "sky": (0.05, 0.05)},
        **{"interior": (0.02, 0.02), "sharp_highlight": (1e-3, 1e-3)},
        view=(10.0, 10.0),
    )
    rainy, mask = draw(jax.random.key(4), white, settings)
    drops = np.asarray(rainy)[np.asarray(mask)[..., 0] > 0]
    assert drops.mean() < 0.6
    assert drops.max() > 0.8  # the middle shows the view itself


def test_dark_scenes_are_the_ground_truth_too():
    """The clean picture is as dark as what lies behind the drops."""
    night = dataclasses.replace(WET, dry=1.0, dark=1.0, darkness=(0.1, 0.1))
    rainy, clean, mask = example(jax.random.key(0), jnp.asarray(photograph()), night)
    np.testing.assert_array_equal(rainy, clean)
    assert not mask.any()
    assert clean.max() < 0.5 * photograph().max()


def test_lamps_stay_lit_in_the_dark():
    lamp = np.array(photograph())
    lamp[40:50, 40:50] = 1, 0.9, 0.6
    night = dataclasses.replace(WET, dark=1.0, darkness=(0.05, 0.05), lit=(0.9, 0.9))
    dark = darken(jax.random.key(0), jnp.asarray(lamp), night)
    np.testing.assert_allclose(dark[40:50, 40:50], lamp[40:50, 40:50], atol=0.1)
    assert dark[60:].max() < 0.5


def test_a_camera_sharpens_the_ground_truth_too():
    sharp = dataclasses.replace(WET, sharpened=1.0, sharpness=(2.0, 2.0))
    scene = np.full((32, 32, 3), 0.3, np.float32)
    scene[:, 16:] = 0.6
    key = jax.random.key(0)
    assert sharpen(key, (scene,), WET)[0] is scene
    rainy, clean = sharpen(key, (jnp.asarray(scene), jnp.asarray(scene)), sharp)
    np.testing.assert_array_equal(rainy, clean)
    assert clean[16, 15, 0] < 0.25 and clean[16, 16, 0] > 0.65
    np.testing.assert_allclose(clean[:, [0, -1]], scene[:, [0, -1]], atol=1e-3)


def test_a_pair_is_graded_alike():
    """In black and white, cold, flat and noisy; the same wherever there is no drop."""
    grey = {"saturation": (-1.0, -1.0), "warmth": (0.0, 0.0), "tone": (0.5, 0.5)}
    noisy = {"pivot": (0.5, 0.5), "grain": (0.02, 0.02)}
    settings = dataclasses.replace(WET, graded=1.0, **grey | noisy)
    key, scene = jax.random.key(0), jnp.asarray(photograph())
    assert grade(key, (scene,), WET)[0] is scene
    rainy, clean = grade(key, (scene.at[:9].set(0), scene), settings)
    np.testing.assert_array_equal(rainy[9:], clean[9:])
    quiet = dataclasses.replace(settings, grain=(-1.0, 0.0))
    (flat,) = grade(key, (scene,), quiet)
    np.testing.assert_allclose(np.ptp(flat, -1), 0, atol=1e-6)
    assert np.ptp(flat) < 0.6 * np.ptp(scene)
    assert np.std(clean - flat) == pytest.approx(0.02, rel=0.1)
    cold = dataclasses.replace(quiet, saturation=(1.0, 1.0), warmth=(-0.5, -0.5))
    (blue,) = grade(key, (scene,), cold)
    assert blue[..., 2].mean() > flat.mean() > blue[..., 0].mean()


def test_large_drops_swallow_small_ones():
    """The beads are not seen within the blobs, and are everywhere else."""
    beads = dataclasses.replace(
        WET,
        **CALM,
        density=((0.9, 0.9), (0.3, 0.3)),
        unevenness=(0.0, 0.0),
        defocus=(0.5, 0.5),
        lens=(0.3, 0.3),
    )
    blobs = dataclasses.replace(beads, density=((0.0, 0.0), (0.3, 0.3)))
    both, alone = (draw(jax.random.key(6), photograph(), s) for s in (beads, blobs))
    blob = np.asarray(alone[1])[..., 0] > 0
    inside = ndimage.binary_erosion(blob, iterations=4)
    assert inside.sum() > 50
    np.testing.assert_allclose(both[0][inside], alone[0][inside], atol=0.03)
    assert np.asarray(both[1])[..., 0][~blob].mean() > 0.05


def test_drops_are_round_and_upside_down():
    """A lone drop is as high above its middle as below, and shows sky at its foot."""
    lone = dataclasses.replace(
        WET,
        **CALM,
        cell=(64,),
        radius=((14.0, 14.0),),
        presence=(1.0,),
        density=((0.06, 0.06),),
        crowd=((0.0, 0.0),),
        unevenness=(0.0, 0.0),
        closeness=(1.0, 1.0),
        elongation=(1.0, 1.0),
        irregularity=(0.0, 0.0),
        trails=((0.0, 0.0),),
        view=(40.0, 40.0),
        contact=(45.0, 45.0),
        flatness=(0.0, 0.0),
        sag=(0.0, 0.0),
        tilted=1.0,
        tilt=(0.0, 0.0),
        pan=(0.0, 0.0),
        gain=(1.0, 1.0),
        expansion=(0.01, 0.01),
        interior=(0.5, 0.5),
        sky=(1.2, 1.2),
        highlight=(1e-3, 1e-3),
        highlight_spread=0.0,
        defocus=(0.3, 0.3),
        mask_coverage=0.5,
    )
    scene = np.full((192, 192, 3), 0.2, np.float32)
    scene[:96] = 0.8
    seen = inverted = 0
    for i in range(40):
        rainy, mask = draw(jax.random.key(i), scene, lone)
        labels, _ = ndimage.label(np.asarray(mask)[..., 0])
        for rows, columns in ndimage.find_objects(labels):
            inside = rows.start > 0 and rows.stop < 192
            if inside and columns.start > 0 and columns.stop < 192:
                height, width = rows.stop - rows.start, columns.stop - columns.start
                if max(height, width) > 30:
                    continue  # two that have merged
                seen += 1
                assert abs(height - 28) <= 1 and abs(width - 28) <= 1
                drop = np.asarray(rainy)[rows, columns].mean(-1)[:, 10:18]
                if 64 < (rows.start + rows.stop) / 2 < 128:  # else all it sees is sky
                    assert drop[-8:-2].mean() > drop[2:8].mean() + 0.1
                    inverted += 1
    assert seen >= 3 and inverted >= 1


def test_drops_that_outgrow_their_cells_are_refused():
    with pytest.raises(UserError, match="beyond their cell"):
        dataclasses.replace(WET, radius=((1.0, 2.0), (50.0, 500.0)))


def test_render_folder_writes_a_reproducible_data_set(tmp_path):
    for name, shape in {"b": (48, 64), "a": (64, 48)}.items():
        write_image(tmp_path / "in" / f"{name}.png", photograph(*shape))
    config = get_config()
    config.dark, config.deep = 0.0, 1.0
    config.graded = config.sharpened = config.compressed = 0.0
    made = [
        render_folder(tmp_path / "in", tmp_path / out, config, seed=7, copies=2)
        for out in ("one", "two")
    ]
    assert all(one.sheet.exists() and one.pairs == 4 for one in made)
    for n in range(4):
        rainy, clean, mask = (
            read_image(tmp_path / "one" / folder / f"{n}_{kind}.png")
            for folder, kind in (("data", "rain"), ("gt", "clean"), ("mask", "mask"))
        )
        assert rainy.shape == clean.shape == mask.shape
        again = read_image(tmp_path / "two" / "data" / f"{n}_rain.png")
        np.testing.assert_array_equal(rainy, again)
        assert set(np.unique(mask)) <= {0, 255}
    original = read_image(tmp_path / "in" / "a.png")
    np.testing.assert_array_equal(
        read_image(tmp_path / "one" / "gt" / "1_clean.png"), original
    )
    listed = (tmp_path / "one" / "sources.txt").read_text().splitlines()
    assert [line.rsplit("/")[-1] for line in listed] == ["a.png"] * 2 + ["b.png"] * 2
    with pytest.raises(UserError, match="not empty"):
        render_folder(tmp_path / "in", tmp_path / "one", get_config())
    (tmp_path / "bare").mkdir()
    with pytest.raises(UserError, match="holds no pictures"):
        render_folder(tmp_path / "bare", tmp_path / "three", get_config())
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        render_folder(tmp_path / "in", tmp_path / "file", get_config())
