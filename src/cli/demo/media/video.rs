//! The demo's video: a car drives through the street while a clock, a dial and the frame's number run, so that one
//! sees where a seek has led. 24 s at 15 frames a second, 71 MB, computed when it is read.

use super::canvas::{Canvas, Rgb};
use super::{h264, mp4, scenes};
use crate::cli::demo::s3::Content;

const MACROBLOCKS_WIDE: usize = 30;
const MACROBLOCKS_HIGH: usize = 17;
const MACROBLOCKS: usize = MACROBLOCKS_WIDE * MACROBLOCKS_HIGH;
const FRAMES_PER_SECOND: usize = 15;
const FRAMES: usize = 24 * FRAMES_PER_SECOND;
const SAMPLE_SIZE: usize = h264::sample_size(MACROBLOCKS);
/// The frame's number in binary: so many squares of a macroblock each, the highest first, in the last row.
const NUMBER_BITS: usize = 9;

const PANEL: Rgb = [24, 27, 33];
const INK: Rgb = [244, 244, 240];
const HAND: Rgb = [230, 84, 62];

/// The whole file.
pub(super) fn crossing() -> Content {
    let sequence_parameters = h264::sequence_parameters(MACROBLOCKS_WIDE, MACROBLOCKS_HIGH);
    let head = mp4::head(&mp4::Track {
        width: (MACROBLOCKS_WIDE * 16) as u16,
        height: (MACROBLOCKS_HIGH * 16) as u16,
        frames_per_second: FRAMES_PER_SECOND as u32,
        frames: FRAMES as u32,
        sample_size: SAMPLE_SIZE as u32,
        sequence_parameters: &sequence_parameters,
        picture_parameters: &h264::picture_parameters(),
    });
    let background = Background::new();
    let length = head.len() + FRAMES * SAMPLE_SIZE;
    Content::generated(length as u64, move |offset, buffer| {
        fill(&head, &background, offset as usize, buffer)
    })
}

fn fill(head: &[u8], background: &Background, offset: usize, buffer: &mut [u8]) {
    let mut filled = 0;
    while filled < buffer.len() {
        let position = offset + filled;
        let rest = &mut buffer[filled..];
        let copied = match position.checked_sub(head.len()) {
            None => copy(&head[position..], rest),
            Some(media) => copy(
                &background.frame(media / SAMPLE_SIZE)[media % SAMPLE_SIZE..],
                rest,
            ),
        };
        filled += copied;
    }
}

fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let length = from.len().min(to.len());
    to[..length].copy_from_slice(&from[..length]);
    length
}

/// What stays the same, as pixels to draw on and as a finished sample to begin with.
struct Background {
    canvas: Canvas,
    sample: Vec<u8>,
}

impl Background {
    fn new() -> Self {
        let mut canvas = Canvas::new(MACROBLOCKS_WIDE * 16, MACROBLOCKS_HIGH * 16, 480.0);
        scenes::empty_street(&mut canvas);
        let mut sample = h264::frame(MACROBLOCKS);
        for index in 0..MACROBLOCKS {
            encode_macroblock(&canvas, index, &mut sample);
        }
        Self { canvas, sample }
    }

    /// The sample of one frame: only the macroblocks that something moves in are converted anew.
    fn frame(&self, n: usize) -> Vec<u8> {
        let mut canvas = self.canvas.clone();
        let mut sample = self.sample.clone();
        h264::number(&mut sample, n);
        for area in draw(&mut canvas, n) {
            for index in macroblocks_in(area) {
                encode_macroblock(&canvas, index, &mut sample);
            }
        }
        sample
    }
}

/// Draws what moves; the areas it touched as (x0, y0, x1, y1).
fn draw(canvas: &mut Canvas, n: usize) -> [[f32; 4]; 4] {
    let part = n as f32 / FRAMES as f32;
    let seconds = n / FRAMES_PER_SECOND;
    let tenths = n % FRAMES_PER_SECOND * 10 / FRAMES_PER_SECOND;

    let car = 16.0 + part * 380.0;
    scenes::car(canvas, car, 214.0, [206, 62, 52]);

    canvas.rect(16.0, 14.0, 122.0, 36.0, 7.0, PANEL);
    canvas.text(25.0, 22.0, 4.0, INK, &format!("00:{seconds:02}.{tenths}"));

    canvas.circle(440.0, 36.0, 24.0, PANEL);
    canvas.circle(440.0, 36.0, 20.5, INK);
    let angle = part * std::f32::consts::TAU;
    let tip = (440.0 + 16.0 * angle.sin(), 36.0 - 16.0 * angle.cos());
    canvas.line((440.0, 36.0), tip, 3.0, HAND);
    canvas.circle(440.0, 36.0, 3.0, PANEL);

    let left = (MACROBLOCKS_WIDE - NUMBER_BITS) * 16;
    canvas.rect(left as f32 - 4.0, 254.0, 480.0, 18.0, 0.0, PANEL);
    for bit in 0..NUMBER_BITS {
        let lit = n >> (NUMBER_BITS - 1 - bit) & 1 == 1;
        let colour = if lit { INK } else { [60, 64, 72] };
        canvas.rect(
            (left + bit * 16) as f32 + 2.0,
            258.0,
            12.0,
            12.0,
            2.0,
            colour,
        );
    }
    [
        [car - 4.0, 180.0, car + 74.0, 222.0],
        [14.0, 12.0, 140.0, 52.0],
        [414.0, 10.0, 466.0, 62.0],
        [left as f32 - 6.0, 252.0, 480.0, 272.0],
    ]
}

/// The indices of the macroblocks that an area touches.
fn macroblocks_in(area: [f32; 4]) -> impl Iterator<Item = usize> {
    let first = |at: f32| (at.max(0.0) / 16.0) as usize;
    let end = |at: f32, count: usize| ((at.max(0.0) / 16.0).ceil() as usize).min(count);
    let columns = first(area[0])..end(area[2], MACROBLOCKS_WIDE);
    let rows = first(area[1])..end(area[3], MACROBLOCKS_HIGH);
    rows.flat_map(move |row| {
        columns
            .clone()
            .map(move |column| row * MACROBLOCKS_WIDE + column)
    })
}

/// RGB to limited-range BT.601, 4:2:0: luma is 16 to 235 and chroma 16 to 240, never 0, which `h264::frame` asks for.
fn encode_macroblock(canvas: &Canvas, index: usize, sample: &mut [u8]) {
    let out = &mut sample[h264::macroblock_at(index)..][..h264::MACROBLOCK];
    let (left, top) = (index % MACROBLOCKS_WIDE * 16, index / MACROBLOCKS_WIDE * 16);
    for (place, luma) in out[..256].iter_mut().enumerate() {
        let [r, g, b] = canvas
            .pixel(left + place % 16, top + place / 16)
            .map(i32::from);
        *luma = (16 + ((66 * r + 129 * g + 25 * b + 128) >> 8)) as u8;
    }
    for place in 0..64 {
        let (x, y) = (left + place % 8 * 2, top + place / 8 * 2);
        let mut sum = [0; 3];
        for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let pixel = canvas.pixel(x + dx, y + dy);
            sum.iter_mut()
                .zip(pixel)
                .for_each(|(sum, channel)| *sum += i32::from(channel));
        }
        let [r, g, b] = sum.map(|sum| sum / 4);
        out[256 + place] = (128 + ((-38 * r - 74 * g + 112 * b + 128) >> 8)) as u8;
        out[320 + place] = (128 + ((112 * r - 94 * g - 18 * b + 128) >> 8)) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_range_is_what_the_whole_has_there() {
        let video = crossing();
        assert!(video.len() > 60_000_000);
        let whole = video.read(0..1_000_000);
        for range in [0..10, 300..900, 196_000..600_000, 999_990..1_000_000] {
            let read = video.read(range.start as u64..range.end as u64);
            assert_eq!(read, whole.slice(range));
        }
        assert_eq!(
            video.read(video.len() - 1..video.len() + 9).as_ref(),
            [0x80]
        );
    }

    #[test]
    fn no_frame_needs_emulation_prevention() {
        let background = Background::new();
        for n in [0, 1, 180, FRAMES - 1] {
            let frame = background.frame(n);
            assert!(
                frame[4..]
                    .windows(3)
                    .all(|w| !(w[0] == 0 && w[1] == 0 && w[2] <= 3)),
                "{n}"
            );
        }
    }

    #[test]
    fn what_moves_stays_within_the_areas_converted_anew() {
        let background = Background::new();
        for n in [0, 33, 200, FRAMES - 1] {
            let mut canvas = background.canvas.clone();
            draw(&mut canvas, n);
            let mut whole = background.sample.clone();
            h264::number(&mut whole, n);
            (0..MACROBLOCKS).for_each(|index| encode_macroblock(&canvas, index, &mut whole));
            assert!(background.frame(n) == whole, "frame {n}");
        }
    }
}
