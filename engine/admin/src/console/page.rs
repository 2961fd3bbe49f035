//! The files of the page: they lie in the program, and name nothing outside of it.

use mq_http::Response;

use super::gate::Gate;

const INDEX: &str = include_str!("page/index.html");
const SCRIPTS: [(&str, &str); 3] = [
    ("/console.js", include_str!("page/console.js")),
    ("/views.js", include_str!("page/views.js")),
    ("/elements.js", include_str!("page/elements.js")),
];
const STYLE: &str = include_str!("page/console.css");

/// Where the page has the token.
const TOKEN: &str = "{{token}}";

/// The file at `path`, if it is one of the page's.
pub(super) fn file(path: &str, gate: &Gate) -> Option<Response> {
    let text = |content_type, text: String| Some(Response::new(200, content_type, text));
    if let Some((_, script)) = SCRIPTS.iter().find(|(name, _)| *name == path) {
        return text("text/javascript; charset=utf-8", (*script).to_owned());
    }
    match path {
        "/" => text("text/html; charset=utf-8", INDEX.replace(TOKEN, gate.token_of_page())),
        "/console.css" => text("text/css; charset=utf-8", STYLE.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What makes markup of text; what comes from the cluster is set as text.
    const NEVER: [&str; 7] = [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "srcdoc",
    ];

    #[test]
    fn nothing_is_made_of_text_but_text() {
        for (name, script) in SCRIPTS {
            for word in NEVER {
                assert!(!script.contains(word), "{name}: {word}");
            }
        }
        assert_eq!(INDEX.matches(TOKEN).count(), 1);
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        for text in SCRIPTS.iter().map(|(_, script)| *script).chain([INDEX, STYLE]) {
            let outside = ["http:", "https:", "url(", "@import", "src=\"//"];
            for word in outside {
                assert!(!text.contains(word), "{word} in {text}");
            }
        }
    }
}
