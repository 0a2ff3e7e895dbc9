//! The demo's pictures: scenes with things in them that one would want to annotate. Pure, and drawn in units: a
//! picture is 480 wide and 270 high.

use std::f32::consts::TAU;

use super::canvas::{Canvas, Rgb, mix};

const SIZE: (usize, usize) = (800, 450);
const GLASS: Rgb = [176, 208, 224];
const RUBBER: Rgb = [30, 31, 36];

/// A light that falls on the street.
struct Light {
    sky: [Rgb; 2],
    sun: (f32, f32, Rgb),
    hills: [Rgb; 2],
    window: Rgb,
    /// Everything else is mixed with this colour by this part.
    shade: (Rgb, f32),
}

const NOON: Light = Light {
    sky: [[104, 168, 222], [214, 234, 246]],
    sun: (352.0, 40.0, [255, 240, 190]),
    hills: [[142, 184, 150], [112, 162, 118]],
    window: [186, 214, 230],
    shade: ([255, 255, 255], 0.0),
};
const DUSK: Light = Light {
    sky: [[38, 42, 92], [244, 148, 102]],
    sun: (300.0, 100.0, [255, 214, 150]),
    hills: [[92, 74, 112], [66, 58, 94]],
    window: [255, 214, 128],
    shade: ([34, 30, 70], 0.5),
};

/// Cars, a bus and people in the street at noon.
pub(super) fn street_at_noon() -> Canvas {
    let mut canvas = Canvas::new(SIZE.0, SIZE.1, 480.0);
    street(&mut canvas, &NOON);
    bus(&mut canvas, 250.0, 190.0, [232, 176, 56]);
    person(&mut canvas, 62.0, 150.0, [196, 84, 96]);
    person(&mut canvas, 84.0, 152.0, [70, 108, 160]);
    person(&mut canvas, 420.0, 150.0, [92, 140, 92]);
    car(&mut canvas, 40.0, 226.0, [206, 62, 52]);
    car(&mut canvas, 160.0, 234.0, [52, 104, 178]);
    car(&mut canvas, 390.0, 236.0, [238, 238, 234]);
    canvas
}

/// Fewer of them at dusk.
pub(super) fn street_at_dusk() -> Canvas {
    let mut canvas = Canvas::new(SIZE.0, SIZE.1, 480.0);
    street(&mut canvas, &DUSK);
    person(&mut canvas, 200.0, 151.0, [120, 66, 96]);
    person(&mut canvas, 352.0, 150.0, [54, 72, 112]);
    for (x, y, colour) in [(96.0, 222.0, [134, 52, 60]), (300.0, 236.0, [46, 70, 118])] {
        car(&mut canvas, x, y, colour);
        canvas.circle(x + 68.0, y - 10.0, 2.6, [255, 244, 200]);
    }
    canvas
}

/// The street at noon without anybody in it, for the video.
pub(super) fn empty_street(canvas: &mut Canvas) {
    street(canvas, &NOON);
    person(canvas, 104.0, 150.0, [70, 108, 160]);
    person(canvas, 330.0, 151.0, [196, 84, 96]);
}

fn street(canvas: &mut Canvas, light: &Light) {
    let shaded = |colour: Rgb| mix(colour, light.shade.0, light.shade.1);
    canvas.gradient(0.0, 150.0, light.sky[0], light.sky[1]);
    canvas.circle(light.sun.0, light.sun.1, 17.0, light.sun.2);
    for (x, y, size) in [(90.0, 70.0, 1.0), (250.0, 48.0, 0.8), (400.0, 92.0, 0.7)] {
        cloud(canvas, x, y, size, mix(light.sky[1], [255, 255, 255], 0.5));
    }
    canvas.below(light.hills[0], 166.0, |x| 118.0 - 12.0 * (x / 61.0).sin());
    canvas.below(light.hills[1], 166.0, |x| {
        132.0 - 9.0 * (x / 43.0 + 2.0).sin()
    });
    let walls = [
        [214, 178, 140],
        [196, 120, 96],
        [226, 208, 172],
        [166, 176, 188],
        [220, 164, 128],
        [188, 196, 160],
    ];
    for (i, wall) in walls.into_iter().enumerate() {
        let (x, height) = (
            8.0 + 80.0 * i as f32,
            [66.0, 84.0, 58.0, 78.0, 70.0, 88.0][i],
        );
        house(
            canvas,
            x,
            164.0 - height,
            height,
            shaded(wall),
            shaded([122, 62, 54]),
            light.window,
        );
    }
    for x in [76.0, 236.0, 396.0, 470.0] {
        tree(
            canvas,
            x,
            166.0,
            shaded([62, 128, 76]),
            shaded([96, 72, 52]),
        );
    }
    canvas.gradient(
        163.0,
        182.0,
        shaded([196, 192, 184]),
        shaded([178, 174, 166]),
    );
    canvas.gradient(
        182.0,
        185.0,
        shaded([132, 130, 126]),
        shaded([112, 110, 108]),
    );
    canvas.gradient(185.0, 272.0, shaded([88, 90, 96]), shaded([70, 72, 78]));
    for i in 0..9 {
        canvas.rect(
            6.0 + 56.0 * i as f32,
            219.0,
            30.0,
            3.0,
            1.0,
            shaded([236, 232, 214]),
        );
    }
}

fn cloud(canvas: &mut Canvas, x: f32, y: f32, size: f32, colour: Rgb) {
    for (dx, dy, radius) in [(0.0, 0.0, 12.0), (14.0, -5.0, 14.0), (29.0, 0.0, 11.0)] {
        canvas.circle(x + dx * size, y + dy * size, radius * size, colour);
    }
    canvas.rect(
        x - 8.0 * size,
        y,
        44.0 * size,
        11.0 * size,
        5.0 * size,
        colour,
    );
}

fn house(canvas: &mut Canvas, x: f32, y: f32, height: f32, wall: Rgb, roof: Rgb, window: Rgb) {
    canvas.gable(x - 5.0, y - 22.0, 70.0, 24.0, roof);
    canvas.rect(x, y, 60.0, height, 0.0, wall);
    let storeys = ((height - 26.0) / 22.0) as usize + 1;
    for storey in 0..storeys {
        for column in 0..3 {
            let (left, top) = (
                x + 7.0 + 17.5 * column as f32,
                y + 8.0 + 22.0 * storey as f32,
            );
            canvas.rect(
                left - 1.5,
                top - 1.5,
                14.0,
                16.0,
                1.0,
                mix(wall, [255, 255, 255], 0.45),
            );
            canvas.rect(left, top, 11.0, 13.0, 0.5, window);
        }
    }
    canvas.rect(
        x + 24.0,
        y + height - 17.0,
        12.0,
        17.0,
        1.0,
        mix(roof, [0, 0, 0], 0.25),
    );
}

fn tree(canvas: &mut Canvas, x: f32, y: f32, leaves: Rgb, bark: Rgb) {
    canvas.rect(x - 2.5, y - 22.0, 5.0, 24.0, 1.0, bark);
    for (dx, dy, radius) in [(-8.0, -26.0, 11.0), (8.0, -26.0, 11.0), (0.0, -38.0, 13.0)] {
        canvas.circle(x + dx, y + dy, radius, leaves);
    }
    canvas.circle(x - 4.0, y - 41.0, 6.0, mix(leaves, [255, 255, 255], 0.16));
}

/// A car with its wheels on `y`, 70 long.
pub(super) fn car(canvas: &mut Canvas, x: f32, y: f32, colour: Rgb) {
    canvas.rect(x + 2.0, y - 1.0, 68.0, 4.0, 2.0, [52, 54, 60]);
    canvas.rect(x + 14.0, y - 30.0, 38.0, 20.0, 8.0, colour);
    canvas.rect(x + 18.0, y - 27.0, 14.0, 11.0, 3.0, GLASS);
    canvas.rect(x + 34.5, y - 27.0, 14.0, 11.0, 3.0, GLASS);
    canvas.rect(x, y - 18.0, 70.0, 15.0, 5.0, colour);
    canvas.rect(x + 65.0, y - 14.0, 4.0, 5.0, 1.5, [255, 240, 190]);
    canvas.rect(x + 1.0, y - 14.0, 3.0, 5.0, 1.5, [150, 30, 30]);
    for wheel in [x + 16.0, x + 54.0] {
        canvas.circle(wheel, y - 4.0, 6.5, RUBBER);
        canvas.circle(wheel, y - 4.0, 3.0, [186, 188, 192]);
    }
}

fn bus(canvas: &mut Canvas, x: f32, y: f32, colour: Rgb) {
    canvas.rect(x + 2.0, y + 17.0, 116.0, 4.0, 2.0, [58, 60, 66]);
    canvas.rect(x, y - 28.0, 120.0, 46.0, 6.0, colour);
    for i in 0..5 {
        canvas.rect(x + 8.0 + 21.0 * i as f32, y - 21.0, 17.0, 15.0, 2.0, GLASS);
    }
    canvas.rect(x, y + 2.0, 120.0, 3.0, 0.0, mix(colour, [0, 0, 0], 0.3));
    for wheel in [x + 24.0, x + 94.0] {
        canvas.circle(wheel, y + 16.0, 8.0, RUBBER);
        canvas.circle(wheel, y + 16.0, 3.5, [186, 188, 192]);
    }
}

fn person(canvas: &mut Canvas, x: f32, y: f32, colour: Rgb) {
    canvas.line((x, y + 12.0), (x - 4.0, y + 26.0), 3.6, [48, 52, 66]);
    canvas.line((x, y + 12.0), (x + 4.0, y + 26.0), 3.6, [48, 52, 66]);
    canvas.line((x, y), (x, y + 12.0), 8.0, colour);
    canvas.line(
        (x + 2.0, y + 1.0),
        (x + 7.0, y + 9.0),
        2.6,
        mix(colour, [0, 0, 0], 0.15),
    );
    canvas.circle(x, y - 8.0, 4.2, [222, 176, 146]);
}

/// Hot-air balloons over hills.
pub(super) fn balloons() -> Canvas {
    let mut canvas = Canvas::new(SIZE.0, SIZE.1, 480.0);
    canvas.gradient(0.0, 270.0, [96, 158, 214], [250, 226, 190]);
    canvas.circle(84.0, 176.0, 24.0, [255, 246, 214]);
    let hills: [(Rgb, f32, f32, f32); 4] = [
        ([176, 188, 204], 196.0, 18.0, 70.0),
        ([142, 168, 172], 210.0, 14.0, 52.0),
        ([104, 148, 128], 228.0, 12.0, 44.0),
        ([70, 122, 92], 246.0, 8.0, 36.0),
    ];
    for (i, (colour, y, swing, wave)) in hills.into_iter().enumerate() {
        canvas.below(colour, 271.0, |x| {
            y - swing * (x / wave + 1.7 * i as f32).sin()
        });
    }
    for (x, y, size, colour, stripe) in [
        (128.0, 84.0, 1.25, [206, 62, 52], [244, 226, 190]),
        (262.0, 58.0, 0.9, [52, 104, 178], [240, 240, 236]),
        (360.0, 112.0, 1.5, [232, 162, 48], [150, 62, 80]),
        (220.0, 146.0, 0.6, [112, 84, 160], [236, 214, 236]),
        (430.0, 50.0, 0.5, [62, 138, 110], [234, 240, 220]),
    ] {
        balloon(&mut canvas, x, y, size, colour, stripe);
    }
    canvas
}

fn balloon(canvas: &mut Canvas, x: f32, y: f32, size: f32, colour: Rgb, stripe: Rgb) {
    for side in [-1.0, 1.0] {
        canvas.line(
            (x + 11.0 * side * size, y + 26.0 * size),
            (x + 5.0 * side * size, y + 46.0 * size),
            0.8,
            [92, 80, 70],
        );
    }
    let bounds = [
        x - 30.0 * size,
        y - 30.0 * size,
        x + 30.0 * size,
        y + 36.0 * size,
    ];
    // A circle that narrows below: the envelope and, narrower, its stripes.
    let envelope = |width: f32| {
        move |px: f32, py: f32| {
            let (dx, dy) = ((px - x) / size, (py - y) / size);
            let narrowing = 1.0 + dy.max(0.0) / 46.0;
            ((dx * narrowing / width).hypot(dy * if dy > 0.0 { 0.86 } else { 1.0 }) - 30.0)
                * size
                * width
        }
    };
    canvas.shape(bounds, colour, envelope(1.0));
    canvas.shape(bounds, stripe, envelope(0.72));
    canvas.shape(bounds, colour, envelope(0.42));
    canvas.shape(bounds, stripe, envelope(0.14));
    canvas.rect(
        x - 6.0 * size,
        y + 44.0 * size,
        12.0 * size,
        9.0 * size,
        2.0 * size,
        [122, 86, 56],
    );
}

/// Stained cells under a microscope.
pub(super) fn cells() -> Canvas {
    let mut canvas = Canvas::new(SIZE.0, SIZE.1, 480.0);
    canvas.gradient(0.0, 270.0, [250, 240, 246], [238, 222, 236]);
    // A fixed sequence, so that the picture is the same each time.
    let mut random = fastrand::Rng::with_seed(7);
    let mut placed: Vec<(f32, f32)> = Vec::new();
    for _ in 0..400 {
        let (x, y) = (random.f32() * 480.0, random.f32() * 270.0);
        if placed.iter().all(|(px, py)| (px - x).hypot(py - y) > 42.0) {
            placed.push((x, y));
            let (size, lobes, turn) = (
                13.0 + 8.0 * random.f32(),
                2 + random.usize(..3),
                random.f32() * TAU,
            );
            let tint = random.f32();
            cell(&mut canvas, (x, y), size, lobes as f32, turn, tint);
        }
    }
    canvas
}

fn cell(canvas: &mut Canvas, (x, y): (f32, f32), size: f32, lobes: f32, turn: f32, tint: f32) {
    let bounds = [
        x - 1.3 * size,
        y - 1.3 * size,
        x + 1.3 * size,
        y + 1.3 * size,
    ];
    let outline = |grown: f32, wave: f32| {
        move |px: f32, py: f32| {
            let angle = (py - y).atan2(px - x);
            (px - x).hypot(py - y) - size * grown * (1.0 + wave * (lobes * angle + turn).sin())
        }
    };
    let body = mix([228, 178, 214], [206, 172, 226], tint);
    canvas.shape(bounds, mix(body, [150, 90, 150], 0.35), outline(1.06, 0.1));
    canvas.shape(bounds, body, outline(1.0, 0.1));
    canvas.shape(
        bounds,
        mix([126, 66, 150], [92, 60, 156], tint),
        outline(0.48, 0.16),
    );
    canvas.circle(x + 0.12 * size, y - 0.1 * size, 0.12 * size, [62, 34, 100]);
}
