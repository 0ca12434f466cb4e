//! Parts that all SVG drawings share: colors for a light and a dark page, escaped text, and the
//! file around a drawing.

/// The style of the classes in drawings. A viewer that does not know `prefers-color-scheme` shows
/// the light colors.
pub const STYLE: &str = include_str!("svg.css");

/// The number of colors: classes `stroke0`, `fill0` and so on.
pub const COLORS: usize = 5;

/// Escapes text, or the value of an attribute, for SVG and HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Returns a drawing of a size in pixels as a file of its own, with a background.
pub fn file(width: f64, height: f64, drawing: &str) -> String {
    let open = open(width, height);
    let style = STYLE.trim_end();
    let page = format!("<rect class=\"page\" width=\"{width:.0}\" height=\"{height:.0}\"/>");
    format!("{open}\n<style>\n{style}\n</style>\n{page}\n{drawing}</svg>\n")
}

/// Returns a drawing of a size in pixels as an element of an HTML page, which must contain
/// [`STYLE`].
pub fn inline(width: f64, height: f64, drawing: &str) -> String {
    format!("{}\n{drawing}</svg>\n", open(width, height))
}

fn open(width: f64, height: f64) -> String {
    let size = format!("width=\"{width:.0}\" height=\"{height:.0}\"");
    let view = format!("viewBox=\"0 0 {width:.0} {height:.0}\"");
    format!("<svg xmlns=\"http://www.w3.org/2000/svg\" {size} {view}>")
}
