//! `#[async_test]`, which the suite uses and which is not published with it.

use proc_macro::TokenStream;
use quote::{format_ident, quote};
use syn::{FnArg, Ident, ItemFn, Type};

/// Makes tests of an asynchronous function: one if it takes nothing, two if it takes a `bool`, and one for each kind of
/// connection if it takes that.
#[proc_macro_attribute]
pub fn async_test(_: TokenStream, item: TokenStream) -> TokenStream {
    let function = syn::parse_macro_input!(item as ItemFn);
    let tests = ways(&function).into_iter().map(|(way, prepare, argument)| {
        let (name, output) = (&function.sig.ident, &function.sig.output);
        let test = if way.is_empty() { name.clone() } else { format_ident!("{name}_{way}") };
        let test = format_ident!("{test}_tokio", span = Ident::span(name));
        let conditions = function.attrs.iter().filter(|attribute| attribute.path().is_ident("cfg"));
        quote! {
            #(#conditions)*
            #[test]
            fn #test() #output {
                let run = async { #prepare #name(#argument).await };
                crate::support::block_on_all(run, crate::support::RuntimeType::Tokio)
            }
        }
    });
    quote!(#function #(#tests)*).into()
}

type Tokens = proc_macro2::TokenStream;

/// For each test: what its name ends with, what is done first, and what is passed on.
fn ways(function: &ItemFn) -> Vec<(&'static str, Tokens, Tokens)> {
    let Some(FnArg::Typed(argument)) = function.sig.inputs.first() else {
        return vec![("", quote!(), quote!())];
    };
    if matches!(&*argument.ty, Type::Path(path) if path.path.is_ident("bool")) {
        return vec![("true", quote!(), quote!(true)), ("false", quote!(), quote!(false))];
    }
    let context = quote!(let context = crate::support::TestContext::new(););
    vec![
        ("multiplexed", context.clone(), quote!(context.async_connection().await.unwrap())),
        ("manager", context, quote!(context.client.get_connection_manager().await.unwrap())),
    ]
}
