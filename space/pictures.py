"""An answer as HTML: the verdict, bars, the waveform in the colours of what is heard, a time line.

Names of files and classes are somebody's text, and are escaped; no meaning hangs on a colour alone.
"""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import soundfile
from listening import Answer, Recording, Stretch, loudness, merged, said
from theme import tones

from ser_generalize.errors import listing
from ser_generalize.model_card import fabricated
from ser_generalize.predict import NOT_SURE, SILENT, Prediction
from ser_generalize.protocols import PROTOCOLS
from ser_generalize.schema import SAMPLING_RATE

BARS = 200  # of a waveform
PLAYABLE = 60.0  # seconds; a longer recording would make a heavy page

EMPTY = """
<div class="ser-card ser-empty">
  <svg viewBox="0 0 78 32" aria-hidden="true">
    <path d="M4 16v1M12 12v8M20 4v24M28 12v8M36 7v18M44 2v28M52 11v10M60 6v20M68 13v6M74 16v1"/>
  </svg>
  <p class="ser-lead">Nothing heard yet.</p>
  <p>Record a sentence or two, drop a file, or take one of the fabricated examples.</p>
</div>"""

FABRICATED = (
    '<p class="ser-warning"><strong>Fabricated training data: {}.</strong> These voices were made '
    "by formula, to show that everything works: what it hears says nothing about real ones.</p>"
)

WAITING = """
<div class="ser-card ser-waiting" role="status">
  <p class="ser-kicker">Listening …</p>
  <div class="ser-ghost ser-ghost-title"></div>
  <div class="ser-ghost"></div><div class="ser-ghost"></div><div class="ser-ghost"></div>
</div>"""


def refusal(message: str) -> str:
    """Return what is shown where there is no answer."""
    return (
        '<div class="ser-card ser-refusal" role="alert"><p class="ser-lead">That did not work.</p>'
        f"<p>{escape(message)}</p></div>"
    )


def answer(found: Answer) -> str:
    """Return an answer's card."""
    colours = tones(found.whole.probabilities or {})
    recording = found.recording
    kicker = f"{recording.name} · {clock(recording.seconds, exact=True)} · {found.checkpoint}"
    return (
        f'<article class="ser-card" aria-label="Answer"><p class="ser-kicker">{escape(kicker)}</p>'
        f'<div role="status">{_verdict(found.whole, colours)}</div>'
        f"{bars(found.whole, colours)}{_waveform(found, colours)}{_timeline(found, colours)}"
        f"{_player(recording)}</article>"
    )


def glance(found: Answer) -> str:
    """Return the card of an answer that the next one replaces at once; it is not read aloud."""
    colours = tones(found.whole.probabilities or {})
    return (
        f'<article class="ser-card ser-glance" aria-label="Live answer">'
        f"{_verdict(found.whole, colours)}{bars(found.whole, colours)}</article>"
    )


def comparison(before: Answer, after: Answer, clips: int, doubt: str = "") -> str:
    """Return two answers side by side: as for anyone, and told of the visitor's recordings."""
    colours = tones(before.whole.probabilities or {})
    columns = (("As for anyone", before), (f"Told of {clips} recordings of you", after))
    told = "".join(
        f'<section class="ser-card"><h3>{title}</h3>{_verdict(one.whole, colours)}'
        f"{bars(one.whole, colours)}{_timeline(one, colours)}</section>"
        for title, one in columns
    )
    note = f'<p class="ser-note">{escape(doubt)}</p>' if doubt else ""
    return f'{note}<div class="ser-pair" role="status">{told}</div>'


def bars(heard: Prediction, colours: Mapping[str, str]) -> str:
    """Return the probabilities as a table that looks like bars, the threshold as a line."""
    chances = heard.probabilities or {}
    mark = ""
    if heard.abstain_below:
        mark = f'<span class="ser-mark" style="left:{100 * heard.abstain_below:.1f}%"></span>'
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td><div class="ser-track">'
        f'<div class="ser-bar" style="width:{100 * chance:.1f}%;background:{colours[name]}"></div>'
        f'{mark}</div></td><td class="ser-number">{chance:.0%}</td></tr>'
        for name, chance in chances.items()
    )
    return (
        '<table class="ser-bars"><caption>Probability of each emotion</caption>'
        f'<colgroup><col class="ser-name"><col><col class="ser-share"></colgroup>{rows}</table>'
    )


def clock(seconds: float, exact: bool = False) -> str:
    """Return a time as people write it."""
    if exact and seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _verdict(heard: Prediction, colours: Mapping[str, str]) -> str:
    chances = heard.probabilities
    if not chances:
        return "<h2>Silence</h2>"
    likeliest = max(chances, key=chances.__getitem__)
    chance = chances[likeliest]
    if heard.emotion is None:
        head = "<h2>Not sure</h2>"
        why = (
            f"{escape(likeliest)} is likeliest, at {chance:.0%}, and below "
            f"{heard.abstain_below:.0%} this checkpoint was wrong too often to answer."
        )
    else:
        tone = colours[likeliest]
        head = f'<h2>Sounds <em style="--tone:{tone}">{escape(likeliest)}</em></h2>'
        why = f"{chance:.0%} sure. {_promise(heard.abstain_below)}"
    return f'{head}<p class="ser-sure">{why}</p>'


def _promise(threshold: float | None) -> str:
    if threshold is None:
        return (
            "This checkpoint never says that it is not sure: no limit made its errors rare enough."
        )
    if not threshold:
        return "This checkpoint always answers: even so its errors were rare enough."
    return f"It answers from {threshold:.0%} on (the line across the bars)."


def _waveform(found: Answer, colours: Mapping[str, str]) -> str:
    """Return the recording's peaks, each in the colour of the stretch that it is in."""
    recording = found.recording
    whole = Stretch(0.0, recording.seconds, found.whole)
    stretches = found.timeline or (whole,)
    paths: dict[str, list[str]] = {}
    for number, peak in enumerate(loudness(recording.samples, BARS)):
        moment = (number + 0.5) / BARS * recording.seconds
        stretch = next((one for one in stretches if moment < one.end), stretches[-1])
        height = max(1.0, 46 * peak)
        stroke = f"M{number * 4 + 2} {50 - height:.1f}v{2 * height:.1f}"
        paths.setdefault(_colour(stretch.said, colours), []).append(stroke)
    drawn = "".join(f'<path style="stroke:{tone}" d="{"".join(d)}"/>' for tone, d in paths.items())
    label = f"Waveform of {recording.name}, {clock(recording.seconds, exact=True)}"
    return (
        f'<svg class="ser-wave" viewBox="0 0 {BARS * 4} 100" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}">{drawn}</svg>'
    )


def _timeline(found: Answer, colours: Mapping[str, str]) -> str:
    if not found.timeline:
        return ""
    parts = list(merged(found.timeline))
    items = "".join(_part(part, found.recording.seconds, colours) for part in parts)
    end = clock(found.recording.seconds)
    return (
        f'<ol class="ser-timeline" aria-label="What is heard over time">{items}</ol>'
        f'<div class="ser-axis" aria-hidden="true"><span>0:00</span><span>{end}</span></div>'
        f"{_legend(parts, colours)}{_table(found.timeline)}"
    )


def _part(part: tuple[float, float, str], seconds: float, colours: Mapping[str, str]) -> str:
    start, end, word = part
    kind = {NOT_SURE: " ser-unsure", SILENT: " ser-silent"}.get(word, "")
    text = f"{clock(start)} to {clock(end)}: {word}"
    return (
        f'<li class="ser-part{kind}" style="flex-grow:{(end - start) / seconds:.4f};'
        f'--tone:{_colour(word, colours)}" title="{escape(text)}"><span>{escape(text)}</span></li>'
    )


def _legend(parts: Sequence[tuple[float, float, str]], colours: Mapping[str, str]) -> str:
    words = dict.fromkeys(word for _, _, word in parts)
    shares = {word: sum(e - s for s, e, said in parts if said == word) for word in words}
    total = sum(shares.values())
    items = "".join(
        f'<li><i class="{_kind(word)}" style="--tone:{_colour(word, colours)}"></i>'
        f"{escape(word)} {shares[word] / total:.0%}</li>"
        for word in sorted(words, key=lambda word: -shares[word])
    )
    return f'<ul class="ser-legend" aria-label="Share of the time">{items}</ul>'


def _kind(word: str) -> str:
    return {NOT_SURE: "ser-unsure", SILENT: "ser-silent"}.get(word, "")


def _table(timeline: Sequence[Stretch]) -> str:
    rows = "".join(
        f"<tr><td>{clock(one.start)}–{clock(one.end)}</td><td>{escape(said(one.heard))}</td>"
        f"<td>{_likeliest(one.heard)}</td></tr>"
        for one in timeline
    )
    return (
        "<details><summary>The time line as a table</summary><table class='ser-table'>"
        "<thead><tr><th>time</th><th>heard</th><th>likeliest</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></details>"
    )


def _likeliest(heard: Prediction) -> str:
    if not heard.probabilities:
        return "–"
    name, chance = max(heard.probabilities.items(), key=lambda pair: pair[1])
    return f"{escape(name)} {chance:.0%}"


def _colour(word: str, colours: Mapping[str, str]) -> str:
    return colours.get(word, "var(--ser-faint)")


def _player(recording: Recording) -> str:
    """Return a player of what was decoded, which lives in the visitor's page alone."""
    if recording.seconds > PLAYABLE:
        return ""
    buffer = io.BytesIO()
    samples = np.clip(recording.samples, -1, 1)
    soundfile.write(buffer, samples, SAMPLING_RATE, format="FLAC", subtype="PCM_16")
    data = base64.b64encode(buffer.getvalue()).decode()
    label = escape(f"Play {recording.name}")
    return f'<audio controls aria-label="{label}" src="data:audio/flac;base64,{data}"></audio>'


def gist(training: Mapping[str, Any]) -> str:
    """Return in a line what a checkpoint learnt from, and whether that was made up."""
    corpora = training.get("corpora", {})
    if not corpora:
        return '<p class="ser-label">It does not say what it learnt from.</p>'
    made_up = fabricated(training)
    warning = FABRICATED.format(escape(listing(made_up))) if made_up else ""
    clips, speakers = (
        sum(held.get(what, 0) for held in corpora.values()) for what in ("clips", "speakers")
    )
    heard = f"Learnt from {listing(corpora)}: {clips:,} clips of {speakers} speakers."
    return f'{warning}<p class="ser-label">{escape(heard)}</p>'


def about_checkpoint(name: str, training: Mapping[str, Any], classes: Sequence[str]) -> str:
    """Return what a checkpoint says of itself: what it heard, and who judged it."""
    facts = "".join(f"<dt>{term}</dt><dd>{text}</dd>" for term, text in _facts(training, classes))
    rows = "".join(
        f"<tr><th scope='row'>{escape(corpus)}</th><td>{held.get('clips', 0):,}</td>"
        f"<td>{held.get('speakers', 0)}</td><td>{_joined(held.get('languages'))}</td>"
        f"<td>{_joined(held.get('elicitation'))}</td></tr>"
        for corpus, held in training.get("corpora", {}).items()
    )
    table = (
        "<table class='ser-table'><caption>The corpora it learnt from; voices unlike these it may "
        "misjudge</caption><thead><tr><th>corpus</th><th>clips</th><th>speakers</th>"
        f"<th>languages</th><th>how</th></tr></thead><tbody>{rows}</tbody></table>"
    )
    return (
        f'<section class="ser-facts" aria-label="About {escape(name)}"><dl>{facts}</dl>'
        f"{table if rows else ''}</section>"
    )


def _facts(training: Mapping[str, Any], classes: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield "answers", _joined(classes)
    if protocol := PROTOCOLS.get(training.get("protocol", "")):
        yield "judged by", escape(protocol.title)
    for key, term in (("encoder", "encoder"), ("sampler", "sampling"), ("adapt", "voice")):
        if value := training.get(key):
            yield term, escape(str(value))


def _joined(values: Sequence[object] | None) -> str:
    return escape(", ".join(str(value) for value in values or ())) or "–"
