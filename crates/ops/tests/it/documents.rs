//! What the help shows as examples is understood.

use clap::CommandFactory as _;

#[test]
fn every_example_of_the_help_is_understood() {
    let mut examples = 0;
    for command in atcr_ops::Cli::command().get_subcommands() {
        let help = command.get_after_help().unwrap().to_string();
        for line in help.lines() {
            let Some((_, example)) = line.split_once("atcr ") else {
                continue;
            };
            let words = example.split("  ").next().unwrap_or_default();
            // A secret that is left out.
            let words = words.split_whitespace().filter(|word| *word != "…");
            let variable = "ATCR_INDEX_DATABASE_URL=";
            let url = line.contains(variable).then_some(["--to", "postgres://h/d"]);
            let arguments = ["atcr"].into_iter().chain(words).chain(url.into_iter().flatten());
            let parsed = atcr_ops::Cli::command().try_get_matches_from(arguments);
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            examples += 1;
        }
        assert!(help.contains("--json"), "{}", command.get_name());
        let has_json = command
            .get_arguments()
            .any(|argument| argument.get_id() == "json");
        assert!(has_json, "{}", command.get_name());
    }
    assert!(examples >= 12, "{examples}");
}
