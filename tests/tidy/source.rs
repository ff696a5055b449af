//! What a Rust file says, as far as the rules ask: its paths, functions,
//! macros and `unsafe`, read from its tokens and not from its text, so that
//! strings and comments are not mistaken for code.
//!
//! The rules about `unsafe` and about leftovers are here, for they need
//! nothing else.

use crate::tree::{File, Tree};
use crate::{Exception, Violation, excepted};
use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree};
use std::iter::Peekable;

/// Where `unsafe` may be, besides `src/runtime`.
pub(crate) const UNSAFE_OUTSIDE_RUNTIME: &[Exception] = &[];

#[derive(Default)]
pub(crate) struct Source {
    pub(crate) paths: Vec<Path>,
    pub(crate) functions: Vec<Function>,
    /// The modules that exist for tests only, each with its path in the file.
    pub(crate) test_modules: Vec<Vec<String>>,
    unsafes: Vec<Unsafe>,
    /// Macros that stand for work not done, and tests that are switched off.
    leftovers: Vec<(usize, String)>,
}

/// A path of two segments or more, a `use` with braces opened out.
pub(crate) struct Path {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    /// The modules inside the file that it is in.
    pub(crate) modules: Vec<String>,
    /// Whether it is compiled for tests only.
    pub(crate) test: bool,
}

pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

struct Unsafe {
    line: usize,
    block: bool,
}

pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in &tree.files {
        match &file.source {
            Some(Err(error)) => violations.push(Violation::new(&file.path, 1, format!("this is not Rust: {error}"))),
            Some(Ok(source)) => {
                let leftovers = source.leftovers.iter();
                violations.extend(leftovers.map(|(line, what)| Violation::new(&file.path, *line, what)));
                check_unsafe(file, source, &mut violations);
            }
            None => {}
        }
    }
    violations
}

fn check_unsafe(file: &File, source: &Source, violations: &mut Vec<Violation>) {
    let lines: Vec<&str> = file.text.lines().collect();
    let allowed = file.path.starts_with("src/runtime/") || excepted(UNSAFE_OUTSIDE_RUNTIME, &file.path);
    for Unsafe { line, block } in &source.unsafes {
        if !allowed {
            let what = "unsafe outside src/runtime; offer a safe function there, or add the file to UNSAFE_OUTSIDE_RUNTIME in tests/tidy/source.rs with a reason";
            violations.push(Violation::new(&file.path, *line, what));
        } else if *block && !proven(&lines[..*line]) {
            let what = "an unsafe block without its proof; put a `// SAFETY:` comment right above";
            violations.push(Violation::new(&file.path, *line, what));
        }
    }
}

/// Whether the statement that ends in the last of these lines has its proof
/// above or within. Clippy's `undocumented_unsafe_blocks` asks for the exact
/// place; this also sees code that clippy's build leaves out.
fn proven(lines: &[&str]) -> bool {
    let (last, above) = lines.split_last().expect("the line with the unsafe block");
    let inside = |line: &&&str| {
        let line = line.trim();
        line.starts_with("//") || !(line.is_empty() || line.ends_with([';', '}']))
    };
    last.contains("SAFETY:") || above.iter().rev().take_while(inside).any(|line| line.contains("SAFETY:"))
}

impl Source {
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let tokens: TokenStream = text.parse().map_err(|error| format!("{error}"))?;
        let mut source = Self::default();
        source.walk(tokens, &[], false);
        Ok(source)
    }

    fn walk(&mut self, tokens: TokenStream, modules: &[String], mut test: bool) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        // Whether an attribute has said that the item that follows is for tests.
        let mut item = Item::default();
        let mut at = 0;
        while at < tokens.len() {
            let in_test = test || item.test;
            match &tokens[at] {
                TokenTree::Punct(mark) if mark.as_char() == '#' => {
                    let inner = is_mark(tokens.get(at + 1), '!');
                    if let Some(TokenTree::Group(attribute)) = tokens.get(at + 1 + usize::from(inner)) {
                        let for_tests = self.attribute(attribute);
                        *(if inner { &mut test } else { &mut item.test }) |= for_tests;
                    }
                }
                TokenTree::Punct(mark) => item.mark(mark.as_char()),
                TokenTree::Ident(ident) => {
                    let word = ident.to_string();
                    item.begin(&word);
                    self.word(&word, &tokens[at..], modules, in_test);
                    if is_path(&tokens[at..]) {
                        at += self.path(&tokens[at..], modules, in_test);
                        continue;
                    }
                }
                TokenTree::Group(group) => {
                    let name = module_name(&tokens[..at]).filter(|_| group.delimiter() == Delimiter::Brace);
                    let inner: Vec<String> = modules.iter().cloned().chain(name).collect();
                    if in_test && inner.len() > modules.len() {
                        self.test_modules.push(inner.clone());
                    }
                    self.walk(group.stream(), &inner, in_test);
                    if group.delimiter() == Delimiter::Brace {
                        item = Item::default();
                    }
                }
                TokenTree::Literal(_) => {}
            }
            at += 1;
        }
    }

    /// Takes note of an attribute; whether it says "for tests only".
    fn attribute(&mut self, attribute: &Group) -> bool {
        let words = words(attribute.stream());
        let is = |word: &str| words.first().is_some_and(|first| first == word);
        if is("ignore") {
            let what = "a test that is switched off; make it pass, or remove it";
            self.leftovers.push((attribute.span_open().start().line, what.to_owned()));
        }
        let mentions = |word: &str| words.iter().any(|other| other == word);
        is("test") || (is("cfg") && mentions("test") && !mentions("not"))
    }

    /// Takes note of the keyword or macro that `rest` begins with.
    fn word(&mut self, word: &str, rest: &[TokenTree], modules: &[String], test: bool) {
        let line = rest[0].span().start().line;
        match (word, rest.get(1)) {
            ("unsafe", next) => {
                let block = matches!(next, Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace);
                self.unsafes.push(Unsafe { line, block });
            }
            ("fn", Some(TokenTree::Ident(name))) => {
                let ends = |token: &&TokenTree| is_mark(Some(token), ';') || is_body(token);
                if let Some(TokenTree::Group(body)) = rest.iter().find(ends) {
                    let last = body.span_close().end().line;
                    self.functions.push(Function { name: name.to_string(), first: line, last });
                }
            }
            ("mod", Some(TokenTree::Ident(name))) if test && is_mark(rest.get(2), ';') => {
                self.test_modules.push(modules.iter().cloned().chain([name.to_string()]).collect());
            }
            ("dbg" | "todo" | "unimplemented", next) if is_mark(next, '!') => {
                self.leftovers.push((line, format!("a leftover {word}!; finish it or take it out")));
            }
            _ => {}
        }
    }

    /// Takes note of the path that `rest` begins with; how many tokens it has.
    fn path(&mut self, rest: &[TokenTree], modules: &[String], test: bool) -> usize {
        let mut tokens = rest.iter().peekable();
        let mut found = Vec::new();
        expand(&mut tokens, &[], &mut found);
        for (segments, line) in found {
            self.paths.push(Path { segments, line, modules: modules.to_vec(), test });
        }
        rest.len() - tokens.count()
    }
}

/// How far the item after an attribute has come.
#[derive(Default)]
struct Item {
    test: bool,
    /// It is an item with a body or a semicolon, not a field or a variant.
    begun: bool,
}

impl Item {
    fn begin(&mut self, word: &str) {
        let items = ["const", "enum", "extern", "fn", "impl", "macro_rules", "mod", "static", "struct", "trait", "use"];
        self.begun |= items.contains(&word);
    }

    fn mark(&mut self, mark: char) {
        if mark == ';' || (mark == ',' && !self.begun) {
            *self = Self::default();
        }
    }
}

/// Reads one path with all that its braces hold, and leaves what follows.
fn expand<'a>(
    tokens: &mut Peekable<impl Iterator<Item = &'a TokenTree>>,
    prefix: &[String],
    found: &mut Vec<(Vec<String>, usize)>,
) {
    let mut segments = prefix.to_vec();
    let mut line = 0;
    while let Some(token) = tokens.peek() {
        match token {
            TokenTree::Ident(ident) => {
                line = ident.span().start().line;
                let word = ident.to_string();
                // `use a::{self}` is `use a`.
                if word != "self" || segments.is_empty() {
                    segments.push(word);
                }
                tokens.next();
                // One colon alone is a bound or a type.
                if !matches!(tokens.peek(), Some(TokenTree::Punct(mark)) if mark.as_char() == ':' && mark.spacing() == Spacing::Joint)
                {
                    break;
                }
            }
            TokenTree::Punct(mark) if mark.as_char() == ':' => {
                tokens.next();
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace && !segments.is_empty() => {
                let parts: Vec<TokenTree> = group.stream().into_iter().collect();
                for part in parts.split(|token| is_mark(Some(token), ',')) {
                    expand(&mut part.iter().peekable(), &segments, found);
                }
                tokens.next();
                return;
            }
            _ => break,
        }
    }
    if segments.len() > 1 && line > 0 {
        found.push((segments, line));
    }
}

/// Whether this begins with a path of two segments: a name and two colons.
fn is_path(tokens: &[TokenTree]) -> bool {
    is_mark(tokens.get(1), ':') && is_mark(tokens.get(2), ':')
}

fn is_mark(token: Option<&TokenTree>, mark: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == mark)
}

fn is_body(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

/// The name of the module whose body comes after these tokens.
fn module_name(before: &[TokenTree]) -> Option<String> {
    match before {
        [.., TokenTree::Ident(keyword), TokenTree::Ident(name)] if keyword == "mod" => Some(name.to_string()),
        _ => None,
    }
}

fn words(tokens: TokenStream) -> Vec<String> {
    let each = |token| match token {
        TokenTree::Ident(ident) => vec![ident.to_string()],
        TokenTree::Group(group) => words(group.stream()),
        _ => Vec::new(),
    };
    tokens.into_iter().flat_map(each).collect()
}
