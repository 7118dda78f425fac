"""How the Space looks: a paper-like theme, and a colour for every emotion in light and in dark.

The colours start from those of Okabe and Ito (2008), moved until colour-blind eyes tell them
apart and each stands out from its ground by 3:1. No meaning hangs on a colour alone.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import gradio as gr

# Emotion: (in light, in dark). The rest of the closed list takes what its neighbours leave free.
TONES: Mapping[str, tuple[str, str]] = {
    "neutral": ("#5d6167", "#9da1a7"),
    "happy": ("#b97b00", "#f3b02a"),
    "sad": ("#1061a7", "#56b4e9"),
    "angry": ("#a62105", "#fb6d48"),
    "surprised": ("#ad79ae", "#efc3e4"),
    "fearful": ("#007f53", "#2096ac"),
    "disgusted": ("#5d4727", "#d6dc54"),
    "calm": ("#2b8fbd", "#9adcf5"),
    "other": ("#3f3d56", "#e5e7eb"),
}
PAPER, NIGHT = "#fbfaf7", "#14171f"  # the grounds that they stand on
STYLE = Path(__file__).with_name("style.css")
SANS = ["ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]


def tones(emotions: Iterable[str]) -> dict[str, str]:
    """Return the CSS variable of the colour of every emotion: its own, or one nobody else has."""
    emotions = list(emotions)
    free = [tone for tone in reversed(list(TONES)) if tone not in emotions]
    chosen = {}
    for number, emotion in enumerate(emotions):
        if emotion in TONES:
            chosen[emotion] = f"var(--tone-{emotion})"
        else:
            tone = free.pop(0) if free else list(TONES)[number % len(TONES)]
            chosen[emotion] = f"var(--tone-{tone})"
    return chosen


def style() -> str:
    """Return the style sheet, the colours of the emotions first."""
    light, dark = (
        "".join(f"--tone-{name}: {pair[mode]}; " for name, pair in TONES.items()) for mode in (0, 1)
    )
    return f":root {{ {light}}}\n.dark {{ {dark}}}\n{STYLE.read_text('utf-8')}"


def theme() -> gr.themes.Base:
    """Return the theme: the visitor's own fonts, so that nothing is fetched from elsewhere."""
    base = gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.stone,
        radius_size=gr.themes.sizes.radius_lg,
        font=SANS,
        font_mono=MONO,
    )
    return base.set(
        body_background_fill=PAPER,
        body_background_fill_dark=NIGHT,
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#1c212c",
        background_fill_secondary="#f4f2ec",
        background_fill_secondary_dark="#191d27",
        block_background_fill="#ffffff",
        block_background_fill_dark="#1c212c",
        block_border_color="#e4e0d6",
        block_border_color_dark="#303747",
        border_color_primary="#d8d3c6",
        border_color_primary_dark="#3a4255",
        input_background_fill="#ffffff",
        input_background_fill_dark="#141821",
        block_label_text_color="#57534e",
        block_label_text_color_dark="#c4c9d4",
        body_text_color="#1c1917",
        body_text_color_dark="#eceff4",
        body_text_color_subdued="#57534e",
        body_text_color_subdued_dark="#b4bac6",
        button_primary_background_fill="#0f766e",
        button_primary_background_fill_hover="#115e59",
        button_primary_background_fill_dark="#14b8a6",
        button_primary_background_fill_hover_dark="#2dd4bf",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#062b27",
        color_accent="#0f766e",
    )
