"""The sound of an mp4, as MELD's clips come: decoded exactly, or refused with a reason."""

import io
import re
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ser_generalize import audio
from ser_generalize.audio import BadAudioError, decode_clip, read_pcm, to_pcm

RATE = 48_000
CENTRE, BASS = 2, 3  # of 5.1
Samples = NDArray[np.float32]


def tones(channels: int, seconds: float = 0.5) -> Samples:
    """A tone of its own for every channel, [channels, n]."""
    time = np.arange(round(seconds * RATE)) / RATE
    hertz = np.array(
        [60.0 if channel == BASS else 300 + 200 * channel for channel in range(channels)]
    )
    return (0.3 * np.sin(2 * np.pi * hertz[:, None] * time)).astype(np.float32)


def mp4(
    samples: Samples | None, codec: str = "aac", layout: str = "5.1", video: bool = True
) -> bytes:
    """An mp4 with black pictures and, unless there are no samples, one audio stream."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        if video:
            pictures = container.add_stream("mpeg4", rate=25)
            pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        if samples is not None:
            stream = container.add_stream(codec, rate=RATE, layout=layout)
            stream.bit_rate = 384_000
        if video:
            for _ in range(5):
                container.mux(pictures.encode(av.VideoFrame(64, 48, "yuv420p")))
            container.mux(pictures.encode())
        if samples is not None:
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = RATE, 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return buffer.getvalue()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("video") / "dia0_utt0.mp4"


@pytest.mark.parametrize(("layout", "channels"), [("mono", 1), ("stereo", 2), ("5.1", 6)])
def test_every_channel_counts_the_same(path: Path, layout: str, channels: int) -> None:
    """Apple Lossless: the average is exact, where FFmpeg's 5.1 to mono would drop the bass."""
    samples = tones(channels)
    path.write_bytes(mp4(samples, "alac", layout))
    pcm, rate = read_pcm(path)
    stored = np.rint(samples.astype(np.float64) * 2**15) / 2**15
    assert rate == RATE
    assert np.abs(pcm - to_pcm(stored.mean(axis=0), RATE).astype(int)).max() <= 1


def test_5_1_aac_begins_where_the_sound_does(path: Path) -> None:
    samples = tones(6)
    path.write_bytes(mp4(samples))
    pcm, rate = read_pcm(path)
    wanted = to_pcm(samples.astype(np.float64).mean(axis=0), RATE)
    assert rate == RATE
    assert len(wanted) <= len(pcm) < len(wanted) + 1024 / 3  # AAC comes in blocks of 1024 at 48 kHz
    lags = range(-400, 401)  # the encoder's run-in of 1024 samples is cut off, or it would be 341
    fits = [
        np.dot(pcm[1_000:5_000].astype(float), wanted[1_000 + lag : 5_000 + lag]) for lag in lags
    ]
    assert lags[int(np.argmax(fits))] == 0
    assert np.corrcoef(pcm[: len(wanted)], wanted)[0, 1] > 0.99


def test_the_bytes_of_a_dataset_row_may_be_an_mp4(path: Path) -> None:
    data = mp4(tones(2), layout="stereo")
    path.write_bytes(data)
    np.testing.assert_allclose(decode_clip(data) * 32_768, read_pcm(path)[0], atol=1)


WHOLE = mp4(tones(6))
BAD = {
    "cut short": (WHOLE[:-2], "truncated: "),
    "half": (WHOLE[: len(WHOLE) // 2], "truncated: "),
    "header only": (WHOLE[:32], "not an mp4 that FFmpeg can decode: "),
    "no index": (WHOLE[: WHOLE.index(b"moov") - 4], "not an mp4 that FFmpeg can decode: "),
    "no sound": (mp4(None), "an mp4 without an audio stream"),
    "silent": (mp4(np.zeros((6, RATE), np.float32)), "silent: "),
    "a tenth too short": (mp4(tones(1, 0.05), "alac", "mono"), "too short: 0.050 s"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.filterwarnings("error")
def test_a_bad_mp4_is_refused_with_its_own_reason(path: Path, kind: str) -> None:
    data, reason = BAD[kind]
    path.write_bytes(data)
    with pytest.raises(BadAudioError, match=rf"^{re.escape(reason)}") as raised:
        read_pcm(path)
    assert "\n" not in str(raised.value)
    assert "0x" not in str(raised.value) and path.name not in str(raised.value)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    changes=st.dictionaries(
        st.integers(0, len(WHOLE) - 1) | st.integers(WHOLE.index(b"moov"), len(WHOLE) - 1),
        st.integers(0, 255),
        min_size=1,
        max_size=5,
    )
)
def test_a_damaged_mp4_gives_samples_or_a_reason(path: Path, changes: dict[int, int]) -> None:
    damaged = bytearray(WHOLE)
    for position, value in changes.items():
        damaged[position] = value
    path.write_bytes(damaged)
    try:
        pcm, rate = read_pcm(path)
    except BadAudioError as error:
        assert str(error)
    else:
        assert 4_000 <= rate <= 384_000
        assert len(pcm) >= 1_600


@pytest.mark.parametrize("container", ["mp4", "flac"])
def test_a_small_file_cannot_ask_for_much_memory(
    path: Path, monkeypatch: pytest.MonkeyPatch, container: str
) -> None:
    monkeypatch.setattr(audio, "MAXIMUM_SECONDS", 1.0)
    loud_and_long = np.full(120 * RATE, 0.5)
    if container == "mp4":
        path.write_bytes(mp4(loud_and_long[None].astype(np.float32), "alac", "mono", video=False))
    else:
        path.write_bytes(audio.encode_flac(to_pcm(loud_and_long, 16_000)))
    tracemalloc.start()
    try:
        with pytest.raises(BadAudioError, match=r"^too long: \d+ s or more, at most 1 s is a clip"):
            read_pcm(path)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(loud_and_long)  # 8 bytes a sample
    finally:
        tracemalloc.stop()
