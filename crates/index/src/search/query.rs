//! The words of a query.

/// Longest query in characters; the rest is cut.
const MAX_CHARS: usize = 100;

/// Words of a query; further ones are ignored.
const MAX_WORDS: usize = 6;

/// A query as it is searched: words, nothing else. Operators of any database's search language are just separators here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    text: String,
    words: Vec<String>,
}

impl Query {
    /// Reads what was typed: lower case, words of letters and digits, a leading `@` and the registry's own punctuation as separators.
    #[must_use]
    pub fn parse(typed: &str) -> Self {
        let text: String = typed.trim().chars().take(MAX_CHARS).collect();
        let text = text.to_lowercase();
        let words = words(&text).take(MAX_WORDS).collect();
        Self { text, words }
    }

    /// What was typed, in lower case, cut, without blanks around it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The words, at most six.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Nothing to search for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }
}

/// The words of a text, in lower case, in its order.
pub fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|character: char| !is_in_word(character))
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// Letters and digits; not the letters in circles and squares, which databases take for symbols.
fn is_in_word(character: char) -> bool {
    character.is_alphanumeric() && !matches!(character, '\u{24b6}'..='\u{24e9}' | '\u{1f130}'..='\u{1f189}')
}

/// The groups of three characters of a word, each once. None for a shorter word.
#[must_use]
pub fn trigrams(word: &str) -> Vec<String> {
    let characters: Vec<char> = word.chars().collect();
    let mut found = Vec::new();
    for window in characters.windows(3) {
        let trigram: String = window.iter().collect();
        if !found.contains(&trigram) {
            found.push(trigram);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_words_whatever_was_typed() {
        let query = Query::parse("  @Alice.example/Web-App:1.0 \"NEAR(x\" *  ");
        assert_eq!(query.words(), ["alice", "example", "web", "app", "1", "0"]);
        assert!(Query::parse("\"*()-:").is_empty());
        assert_eq!(Query::parse(&"é".repeat(500)).text().chars().count(), MAX_CHARS);
    }

    #[test]
    fn trigrams_are_of_characters() {
        assert_eq!(trigrams("nginx"), ["ngi", "gin", "inx"]);
        assert_eq!(trigrams("aaaa"), ["aaa"]);
        assert_eq!(trigrams("日本語版"), ["日本語", "本語版"]);
        assert!(trigrams("ab").is_empty());
    }
}
