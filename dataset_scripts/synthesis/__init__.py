"""Speech without a speaker: voices, sounds, emotions and rooms, all of them by formula."""
