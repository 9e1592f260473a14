//! `ottla completion`: a shell's completion script.

use std::io::Write;

use clap::CommandFactory;

use super::failure::Result;

/// What `ottla completion` understands.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  source <(ottla completion bash)                                   for this shell
  ottla completion bash > ~/.local/share/bash-completion/completions/ottla
  ottla completion zsh > \"${fpath[1]}/_ottla\"
  ottla completion fish > ~/.config/fish/completions/ottla.fish")]
pub struct CompletionArgs {
    /// The shell to write the script for
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// Writes the script.
pub fn run(args: CompletionArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "ottla", &mut script);
    let mut out = super::output::stdout();
    out.write_all(&script)?;
    Ok(out.flush()?)
}
