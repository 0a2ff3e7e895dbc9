//! A canvas of RGB pixels and anti-aliased shapes on it. Pure.
//!
//! Shapes are signed distances in pixels: negative inside, so that an edge is blended over the pixel it crosses.

/// A colour.
pub(super) type Rgb = [u8; 3];

/// Glyphs of 3 × 5 pixels, a row per three bits from the top: the digits, `:` and `.`.
const GLYPHS: [(char, u16); 12] = [
    ('0', 0b111_101_101_101_111),
    ('1', 0b010_110_010_010_111),
    ('2', 0b111_001_111_100_111),
    ('3', 0b111_001_111_001_111),
    ('4', 0b101_101_111_001_001),
    ('5', 0b111_100_111_001_111),
    ('6', 0b111_100_111_101_111),
    ('7', 0b111_001_001_010_010),
    ('8', 0b111_101_111_101_111),
    ('9', 0b111_101_111_001_111),
    (':', 0b000_010_000_010_000),
    ('.', 0b000_000_000_000_010),
];

/// Pixels, row by row. Shapes are given in units of `scale` pixels.
#[derive(Clone)]
pub(super) struct Canvas {
    pub(super) width: usize,
    pub(super) height: usize,
    scale: f32,
    pixels: Vec<Rgb>,
}

impl Canvas {
    /// A black canvas of `width` × `height` pixels that is `units` wide.
    pub(super) fn new(width: usize, height: usize, units: f32) -> Self {
        Self {
            width,
            height,
            scale: width as f32 / units,
            pixels: vec![[0; 3]; width * height],
        }
    }

    /// The rows of pixels.
    pub(super) fn rows(&self) -> impl Iterator<Item = &[Rgb]> {
        self.pixels.chunks_exact(self.width)
    }

    /// One pixel.
    pub(super) fn pixel(&self, x: usize, y: usize) -> Rgb {
        self.pixels[y * self.width + x]
    }

    /// Every row between `y0` and `y1` in a colour of its own, from one to the other.
    pub(super) fn gradient(&mut self, y0: f32, y1: f32, from: Rgb, to: Rgb) {
        let (first, last) = (
            (y0 * self.scale) as usize,
            (y1 * self.scale).ceil() as usize,
        );
        for y in first..last.min(self.height) {
            let part = (y - first) as f32 / (last - first) as f32;
            self.pixels[y * self.width..][..self.width].fill(mix(from, to, part));
        }
    }

    /// A shape by its signed distance (in units), drawn where `bounds` (x0, y0, x1, y1) allow.
    pub(super) fn shape(
        &mut self,
        bounds: [f32; 4],
        colour: Rgb,
        distance: impl Fn(f32, f32) -> f32,
    ) {
        let limit = |at: f32, size: usize| ((at * self.scale).max(0.0) as usize).min(size);
        let (x0, x1) = (
            limit(bounds[0] - 1.0, self.width),
            limit(bounds[2] + 2.0, self.width),
        );
        let (y0, y1) = (
            limit(bounds[1] - 1.0, self.height),
            limit(bounds[3] + 2.0, self.height),
        );
        for y in y0..y1 {
            for x in x0..x1 {
                let d = distance((x as f32 + 0.5) / self.scale, (y as f32 + 0.5) / self.scale);
                let coverage = (0.5 - d * self.scale).clamp(0.0, 1.0);
                if coverage > 0.0 {
                    let pixel = &mut self.pixels[y * self.width + x];
                    *pixel = mix(*pixel, colour, coverage);
                }
            }
        }
    }

    /// A filled circle.
    pub(super) fn circle(&mut self, x: f32, y: f32, radius: f32, colour: Rgb) {
        let bounds = [x - radius, y - radius, x + radius, y + radius];
        self.shape(bounds, colour, |px, py| (px - x).hypot(py - y) - radius);
    }

    /// A rectangle with round corners, by its left top.
    pub(super) fn rect(&mut self, x: f32, y: f32, w: f32, h: f32, radius: f32, colour: Rgb) {
        let (cx, cy) = (x + w / 2.0, y + h / 2.0);
        self.shape([x, y, x + w, y + h], colour, |px, py| {
            let dx = (px - cx).abs() - w / 2.0 + radius;
            let dy = (py - cy).abs() - h / 2.0 + radius;
            dx.max(0.0).hypot(dy.max(0.0)) + dx.max(dy).min(0.0) - radius
        });
    }

    /// A line with round ends.
    pub(super) fn line(&mut self, from: (f32, f32), to: (f32, f32), width: f32, colour: Rgb) {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length2 = (dx * dx + dy * dy).max(1e-6);
        let bounds = [
            from.0.min(to.0) - width,
            from.1.min(to.1) - width,
            from.0.max(to.0) + width,
            from.1.max(to.1) + width,
        ];
        self.shape(bounds, colour, |px, py| {
            let t = (((px - from.0) * dx + (py - from.1) * dy) / length2).clamp(0.0, 1.0);
            (px - from.0 - t * dx).hypot(py - from.1 - t * dy) - width / 2.0
        });
    }

    /// A gable: a triangle with its base at `y + h`.
    pub(super) fn gable(&mut self, x: f32, y: f32, w: f32, h: f32, colour: Rgb) {
        let slope = h.hypot(w / 2.0);
        self.shape([x, y, x + w, y + h], colour, |px, py| {
            let side = ((px - x - w / 2.0).abs() * h - (py - y) * w / 2.0) / slope;
            side.max(py - y - h)
        });
    }

    /// What lies below a curve.
    pub(super) fn below(&mut self, colour: Rgb, bottom: f32, curve: impl Fn(f32) -> f32) {
        let right = self.width as f32 / self.scale;
        self.shape([0.0, 0.0, right, bottom], colour, |px, py| curve(px) - py);
    }

    /// Digits, `:` and `.`, with pixels of `size` units; other characters are left blank.
    pub(super) fn text(&mut self, x: f32, y: f32, size: f32, colour: Rgb, text: &str) {
        for (place, character) in text.chars().enumerate() {
            let left = x + place as f32 * 4.0 * size;
            let glyph = GLYPHS
                .iter()
                .find(|(c, _)| *c == character)
                .map_or(0, |(_, bits)| *bits);
            for bit in (0..15).filter(|bit| glyph >> (14 - bit) & 1 == 1) {
                let (column, row) = ((bit % 3) as f32, (bit / 3) as f32);
                self.rect(
                    left + column * size,
                    y + row * size,
                    size,
                    size,
                    0.0,
                    colour,
                );
            }
        }
    }
}

/// A colour between two others.
pub(super) fn mix(from: Rgb, to: Rgb, part: f32) -> Rgb {
    std::array::from_fn(|i| {
        let (a, b) = (f32::from(from[i]), f32::from(to[i]));
        (a + (b - a) * part + 0.5) as u8
    })
}
