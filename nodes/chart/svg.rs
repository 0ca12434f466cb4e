//! What all drawings share: colours for a light and a dark page, text that is safe, the file around a drawing.

/// Classes of what is drawn. A viewer that knows no `prefers-color-scheme` shows the light ones.
pub const STYLE: &str = include_str!("svg.css");
/// How many colours `stroke0`, `fill0` and so on there are.
pub const COLORS: usize = 5;

/// Text, or an attribute's value, of SVG and HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// A drawing of this size in pixels as a file of its own, on its own background.
pub fn file(width: f64, height: f64, drawing: &str) -> String {
    let style = STYLE.trim_end();
    let page = format!("<rect class=\"page\" width=\"{width:.0}\" height=\"{height:.0}\"/>");
    format!(
        "{}\n<style>\n{style}\n</style>\n{page}\n{drawing}</svg>\n",
        open(width, height)
    )
}

/// A drawing inside an HTML page that holds [`STYLE`].
pub fn inline(width: f64, height: f64, drawing: &str) -> String {
    format!("{}\n{drawing}</svg>\n", open(width, height))
}

fn open(width: f64, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\">"
    )
}
