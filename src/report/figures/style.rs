//! What all figures share: font sizes, widths, and the colours of services and policies.
//!
//! The colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart, without
//! the yellow that is lost on white. A policy has the same colour and marker in every figure.

/// Red, green, blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour(pub u8, pub u8, pub u8);

impl Colour {
    /// The colour mixed with white: 1 leaves it, 0 is white. Opaque, so that overlaps stay clean in print.
    pub fn tint(self, share: f64) -> Self {
        let mix = |channel: u8| (255.0 - (255.0 - f64::from(channel)) * share).round() as u8;
        Self(mix(self.0), mix(self.1), mix(self.2))
    }
}

pub const WHITE: Colour = Colour(255, 255, 255);
pub const BLACK: Colour = Colour(0, 0, 0);
pub const INK: Colour = Colour(38, 38, 38);
pub const SOFT_INK: Colour = Colour(95, 95, 95);
pub const GRID: Colour = Colour(226, 226, 226);
pub const GREY: Colour = Colour(153, 153, 153);
const BLUE: Colour = Colour(0, 114, 178);
const ORANGE: Colour = Colour(230, 159, 0);
const GREEN: Colour = Colour(0, 158, 115);
const PURPLE: Colour = Colour(204, 121, 167);
const SKY: Colour = Colour(86, 180, 233);
pub const VERMILION: Colour = Colour(213, 94, 0);
const OLIVE: Colour = Colour(138, 128, 36);

/// Width of every figure, in units of one CSS pixel: at the width of a printed page (17 cm) a
/// font of 12 is 6.5 points.
pub const WIDTH: f64 = 900.0;
pub const TITLE_SIZE: f64 = 17.0;
pub const HEADING_SIZE: f64 = 13.0;
pub const TEXT_SIZE: f64 = 12.0;
pub const LINE_WIDTH: f64 = 1.75;

const SERVICES: [Colour; 7] = [BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY, OLIVE];

/// Colour of a service by its place in the scenario.
pub fn service_colour(index: usize) -> Colour {
    SERVICES[index % SERVICES.len()]
}

/// Dashes of a service's lines: where colours repeat, the pattern differs. Empty = solid.
pub fn service_dashes(index: usize) -> &'static [f64] {
    match index / SERVICES.len() {
        0 => &[],
        1 => &[6.0, 2.5],
        _ => &[1.5, 2.0],
    }
}

/// Shape of a policy's point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    Circle,
    Square,
    Diamond,
    /// A triangle that points up.
    Up,
    /// A triangle that points down.
    Down,
    Bar,
}

/// Colour and marker of a policy, by its name. Policies that are often compared differ in shape or in
/// brightness too, for prints without colour.
pub fn policy_style(name: &str) -> (Colour, Marker) {
    // `fixed:21/6/7`, `replay:FILE` and the like go by the part before the colon.
    match name.split(':').next().unwrap_or(name) {
        "kpa-latency" => (Colour(90, 90, 90), Marker::Square),
        "kpa-resource" => (GREY, Marker::Square),
        "fixed" => (Colour(110, 110, 110), Marker::Up),
        "random" => (Colour(170, 170, 170), Marker::Bar),
        "hybrid" => (SKY, Marker::Diamond),
        "greedy" => (ORANGE, Marker::Up),
        "priced-greedy" => (VERMILION, Marker::Down),
        "fitted-value" => (PURPLE, Marker::Circle),
        // Both know the coming traffic, and none of the others does.
        "oracle" | "clairvoyant-beam" => (BLACK, Marker::Diamond),
        "trpo" => (GREEN, Marker::Square),
        "ppo" => (GREEN, Marker::Circle),
        "recurrent-ppo" => (BLUE, Marker::Circle),
        "replay" => (OLIVE, Marker::Square),
        "external" => (OLIVE, Marker::Diamond),
        other => by_spelling(other),
    }
}

/// The style of a name that says nothing. Names that differ in a number at their end, as several trainings
/// of one agent, differ in colour and in shape.
fn by_spelling(name: &str) -> (Colour, Marker) {
    const MARKERS: [Marker; 5] =
        [Marker::Circle, Marker::Square, Marker::Diamond, Marker::Up, Marker::Down];
    let stem = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let number: u64 = name[stem.len()..].parse().unwrap_or(0);
    let hash = stem.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let place = |hash: u64, count: usize| {
        let count = count as u64;
        ((hash % count + number % count) % count) as usize
    };
    (SERVICES[place(hash, SERVICES.len())], MARKERS[place(hash >> 32, MARKERS.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trainings_of_one_agent_differ_in_colour_and_shape() {
        let styles: Vec<_> = (0..5).map(|k| policy_style(&format!("training-{k}"))).collect();
        for (index, one) in styles.iter().enumerate() {
            assert!(styles[..index].iter().all(|other| one.0 != other.0 && one.1 != other.1));
        }
        assert_eq!(policy_style("fixed:21/6/7"), policy_style("fixed:0/0/0"));
        policy_style("agent-99999999999999999999");
    }
}
