//! The macro that turns one declaration of fields into a struct and its [`CustomHeader`].
//!
//! [`CustomHeader`]: super::CustomHeader

/// Declares custom headers; see the documentation of [`crate::header`].
macro_rules! custom_header {
    ($(
        $(#[$meta:meta])*
        $name:ident {
            $($(#[$field_meta:meta])* $field:ident: $type:ty = $wire:literal $(or $default:expr)?,)*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_meta])* #[doc = concat!(" Wire name `", $wire, "`.")] pub $field: $type,)*
        }

        impl $crate::header::CustomHeader for $name {
            fn encode(&self, fields: &mut $crate::ext_fields::ExtFields) {
                fields.mark_present();
                $($crate::header::FieldValue::encode(&self.$field, $wire, fields);)*
            }

            fn decode(
                fields: &$crate::ext_fields::ExtFields,
            ) -> Result<Self, $crate::header::HeaderError> {
                Ok($name {
                    $($field: custom_header!(@read fields, $wire $(, $default)?)?,)*
                })
            }
        }
    )*};
    (@read $fields:expr, $wire:literal) => {
        $crate::header::FieldValue::decode($wire, $fields)
    };
    (@read $fields:expr, $wire:literal, $default:expr) => {
        $crate::header::FieldValue::decode_or($wire, $fields, $default)
    };
}
