//! Names that differ only in a number are of one kind: `orders-3` and `orders-12`.

/// The name with every run of digits as one `#`.
pub(crate) fn stem(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if !c.is_ascii_digit() {
            out.push(c);
        } else if !out.ends_with('#') {
            out.push('#');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_one_sign() {
        assert_eq!(stem("orders-12b3"), "orders-#b#");
        assert_eq!(stem("router"), "router");
    }
}
