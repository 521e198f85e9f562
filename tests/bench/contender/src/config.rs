//! The variables of the function.

use shared::config::{ConfigError, Environment};
use zip_to_s3::plan::{Prefer, Terms};

const MIB: u64 = 1024 * 1024;

/// Reads the terms of every archive.
///
/// # Errors
/// When a variable is malformed.
pub(crate) fn terms(environment: &Environment) -> Result<Terms, ConfigError> {
    let memory = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE";
    let memory = environment.parsed(memory, 512, "a number of MB", |mb| *mb >= 128)?;
    // An eighth of the memory: beside it the process needs 25 MiB.
    let buffers = "BUFFER_MIB";
    let buffers = environment.parsed(buffers, memory / 8, "at least 20 MiB", |mib| *mib >= 16)?;
    let prefer = "PREFER";
    let prefer = environment.parsed(prefer, "price".to_owned(), "price or speed", |text| {
        ["price", "speed"].contains(&text.as_str())
    })?;
    let may_copy = environment.parsed("COPY", true, "true or false", |_| true)?;
    Ok(Terms {
        may_copy,
        prefer: if prefer == "speed" { Prefer::Speed } else { Prefer::Price },
        paid_memory: memory * MIB,
        buffer_memory: buffers * MIB,
        ..Terms::default()
    })
}
