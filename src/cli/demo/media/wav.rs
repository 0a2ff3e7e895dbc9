//! Thirty seconds of arpeggios as a WAV file: RIFF, PCM, 16 bits, stereo, 44.1 kHz. Pure.

use std::f32::consts::TAU;

const SAMPLE_RATE: usize = 44_100;
const SECONDS: usize = 30;
/// Notes follow each other at this distance in samples.
const STEP: usize = SAMPLE_RATE / 4;
/// A note rings this long.
const RING: usize = SAMPLE_RATE * 3 / 2;
/// The last samples of a note fade to nothing, so that it ends without a click.
const FADE: usize = 2_000;
/// Chords as MIDI note numbers, each played upwards and down: A minor, F, C, G, D minor, E.
const CHORDS: [[u8; 4]; 6] = [
    [57, 60, 64, 69],
    [53, 57, 60, 65],
    [48, 55, 60, 64],
    [55, 59, 62, 67],
    [50, 57, 62, 65],
    [52, 56, 59, 64],
];
/// The order in which a chord's notes are played.
const PATTERN: [usize; 8] = [0, 1, 2, 3, 2, 3, 2, 1];

/// The whole file, 5.3 MB.
pub(super) fn arpeggio() -> Vec<u8> {
    let mut frames = vec![[0.0_f32; 2]; SAMPLE_RATE * SECONDS];
    // The last notes ring out before the end.
    for note in 0..(frames.len() - RING) / STEP {
        let chord = CHORDS[note / PATTERN.len() % CHORDS.len()];
        let place = PATTERN[note % PATTERN.len()];
        let pan = 0.3 + 0.4 * place as f32 / 3.0;
        pluck(&mut frames[note * STEP..][..RING], chord[place] + 12, pan);
    }
    let data = frames.len() * 4;
    let mut file = header(data as u32);
    file.reserve(data);
    for frame in &frames {
        for sample in frame {
            let sample = (sample * 0.22).clamp(-1.0, 1.0) * f32::from(i16::MAX);
            file.extend_from_slice(&(sample as i16).to_le_bytes());
        }
    }
    file
}

/// Adds a note: a sine and its octave, dying away. The sine is a turning pointer, which costs no call per sample.
fn pluck(frames: &mut [[f32; 2]], note: u8, pan: f32) {
    let frequency = 440.0 * ((f32::from(note) - 69.0) / 12.0).exp2();
    let (turn_sin, turn_cos) = (TAU * frequency / SAMPLE_RATE as f32).sin_cos();
    let (mut sin, mut cos) = (0.0_f32, 1.0_f32);
    let decay = 0.01_f32.powf(1.0 / RING as f32);
    let mut loudness = 1.0;
    let fade_out = frames.len() - FADE;
    for (i, frame) in frames.iter_mut().enumerate() {
        let attack = (i as f32 / 200.0).min(1.0);
        let release = 1.0 - i.saturating_sub(fade_out) as f32 / FADE as f32;
        let value = (sin + 0.7 * sin * cos) * loudness * attack * release;
        frame[0] += value * (1.0 - pan);
        frame[1] += value * pan;
        (sin, cos) = (
            sin * turn_cos + cos * turn_sin,
            cos * turn_cos - sin * turn_sin,
        );
        loudness *= decay;
    }
}

fn header(data: u32) -> Vec<u8> {
    let rate = SAMPLE_RATE as u32;
    let mut header = Vec::with_capacity(44);
    header.extend_from_slice(b"RIFF");
    header.extend_from_slice(&(36 + data).to_le_bytes());
    header.extend_from_slice(b"WAVEfmt ");
    header.extend_from_slice(&16_u32.to_le_bytes());
    header.extend_from_slice(&1_u16.to_le_bytes()); // PCM
    header.extend_from_slice(&2_u16.to_le_bytes()); // channels
    header.extend_from_slice(&rate.to_le_bytes());
    header.extend_from_slice(&(rate * 4).to_le_bytes()); // bytes per second
    header.extend_from_slice(&4_u16.to_le_bytes()); // bytes per frame
    header.extend_from_slice(&16_u16.to_le_bytes()); // bits per sample
    header.extend_from_slice(b"data");
    header.extend_from_slice(&data.to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sound_is_there_is_not_clipped_and_ends_in_silence() {
        let file = arpeggio();
        assert_eq!(file.len(), 44 + SAMPLE_RATE * SECONDS * 4);
        let samples: Vec<_> = file[44..]
            .chunks_exact(2)
            .map(|s| i16::from_le_bytes([s[0], s[1]]))
            .collect();
        let loudest = samples.iter().map(|s| s.unsigned_abs()).max();
        assert!(
            loudest.is_some_and(|loudest| (8_000..32_000).contains(&loudest)),
            "{loudest:?}"
        );
        assert!(samples.iter().rev().take(100).all(|sample| *sample == 0));
    }
}
