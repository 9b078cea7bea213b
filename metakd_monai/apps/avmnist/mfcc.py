"""Mel-frequency cepstral coefficients, 20 at 20 times, by AV-MNIST's two front ends."""

from __future__ import annotations

import numpy as np
from scipy.fft import dct

RATE = 8000  # Hz, of the Free Spoken Digit Dataset
SIZE = 20  # coefficients, and times
FRONT_ENDS = ("paper", "proper")


def sound_to_mfcc(wave: np.ndarray, front_end: str = "paper") -> np.ndarray:
    """Turn a recording into its features in AV-MNIST.

    ``"paper"``: SMIL's way, which the paper follows: every third sample without a filter, windows of 2048 samples
    every 512, as if the rate were still 8 kHz; then zeros up to 20 times. A spoken digit fills 1 to 12 of the 20.
    ``"proper"``: all samples, 20 windows of 32 ms spread over the whole recording, each coefficient brought to mean 0
    and standard deviation 1 over the recording.

    Args:
        wave: samples in -1..1 at 8 kHz, ``(T,)``.
        front_end: one of FRONT_ENDS.

    Returns:
        ``(20, 20)`` float32, coefficients by times.

    Raises:
        ValueError: for another front end.
    """
    if front_end == "paper":
        thinned = wave[::3]
        values = mfcc(thinned, centres=np.arange(0, len(thinned) + 1, 512), window=2048, mels=128)[:, :SIZE]
        return np.pad(values, ((0, 0), (0, SIZE - values.shape[1]))).astype(np.float32)
    if front_end == "proper":
        values = mfcc(wave, centres=np.linspace(0, len(wave), SIZE).astype(int), window=256, mels=40)
        spread = np.maximum(values.std(axis=1, keepdims=True), 1e-6)
        return ((values - values.mean(axis=1, keepdims=True)) / spread).astype(np.float32)
    raise ValueError(f"front_end must be one of {FRONT_ENDS}, got {front_end!r}.")


def mfcc(wave: np.ndarray, centres: np.ndarray, window: int, mels: int) -> np.ndarray:
    """Compute coefficients as librosa's defaults do: Hann windows, Slaney's mel scale, 80 dB, orthonormal DCT-II.

    Args:
        wave: ``(T,)``; it is mirrored at both ends.
        centres: of the windows, samples, ``(F,)``.
        window: samples.
        mels: number of mel bands.

    Returns:
        ``(20, F)``.
    """
    padded = np.pad(wave.astype(np.float64), window // 2, mode="reflect")
    frames = padded[centres[:, None] + np.arange(window)]  # (F, window)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    power = np.abs(np.fft.rfft(frames * hann)) ** 2  # (F, window / 2 + 1)
    decibels = 10 * np.log10(np.maximum(power @ mel_filters(window, mels).T, 1e-10))
    decibels = np.maximum(decibels, decibels.max() - 80)
    return np.asarray(dct(decibels, axis=1, norm="ortho")[:, :SIZE].T)


def mel_filters(window: int, mels: int) -> np.ndarray:
    """Return triangular filters of equal area between 0 Hz and half the rate, ``(mels, window / 2 + 1)``."""
    bins = np.fft.rfftfreq(window, 1 / RATE)
    edges = mel_to_hertz(np.linspace(0, hertz_to_mel(RATE / 2), mels + 2))
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return np.asarray(np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low))


def hertz_to_mel(hertz: float) -> float:
    """Slaney's scale (Auditory Toolbox, 1998): 15 mel are 1000 Hz, above it 27 mel are a factor of 6.4."""
    return float(3 * hertz / 200 if hertz < 1000 else 15 + 27 * np.log(hertz / 1000) / np.log(6.4))


def mel_to_hertz(mel: np.ndarray) -> np.ndarray:
    """Turn Slaney's mel into Hz."""
    return np.where(mel < 15, 200 * mel / 3, 1000 * 6.4 ** ((mel - 15) / 27))
