//! Shapes of generated plans as proptest draws and shrinks them: noise goes first, then the workload
//! gets smaller.

use proptest::prelude::*;
use proptest::strategy::{Union, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use staticfire::stories::generate::{
    BODY_BYTES_MAX, COMMIT_LOG_FILE_BYTES, MESSAGES, NAMESRVS, NOISE, NOISE_ACKS, NOISE_MS, Noise,
    PRODUCERS, RATE_PER_SECOND, Shape, WINDOW, rows_of_masters,
};

/// Shapes of every row of the matrix, with equal weight.
pub fn shapes() -> impl Strategy<Value = Shape> {
    let noise = Union::new(Noise::ALL.map(Just));
    let disturbance = (NOISE_ACKS, NOISE_MS, noise);
    let sizes = Union::new(COMMIT_LOG_FILE_BYTES.map(Just));
    (
        0..rows_of_masters().len(),
        any::<u64>(),
        NAMESRVS,
        (MESSAGES, PRODUCERS, WINDOW, RATE_PER_SECOND),
        sizes,
        BODY_BYTES_MAX,
        prop::collection::vec(disturbance, NOISE),
    )
        .prop_map(
            |(row, story_seed, namesrvs, work, commit_log_file_bytes, body_max, noise)| Shape {
                row,
                story_seed,
                namesrvs,
                messages: work.0,
                producers: work.1,
                window: work.2,
                rate_per_second: work.3,
                commit_log_file_bytes,
                body_bytes_max: body_max,
                noise,
            },
        )
}

/// The shape of a seed, as the root of what it shrinks to. Same seed, same shape.
///
/// # Panics
/// Never: no part of [`shapes`] rejects a draw.
#[must_use]
pub fn tree(seed: u64) -> impl ValueTree<Value = Shape> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    shapes().new_tree(&mut runner).expect("every draw is a shape")
}

/// The shape of a seed.
#[must_use]
pub fn shape(seed: u64) -> Shape {
    tree(seed).current()
}

#[cfg(test)]
mod tests {
    use staticfire::plan::Plan;

    use super::*;

    proptest! {
        #[test]
        fn every_shape_is_a_valid_plan_and_survives_its_file(shape in shapes()) {
            let plan = shape.plan();
            let again = Plan::parse(&plan.to_toml()).map_err(TestCaseError::fail)?;
            prop_assert_eq!(again, plan);
        }
    }
}
