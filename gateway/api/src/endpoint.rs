//! An endpoint: a method, a path, and the types of the request and the response.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The HTTP methods in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// The method as HTTP writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// An endpoint of the HTTP interface. All of them are listed in [`crate::routes`].
pub trait Endpoint {
    /// The method of the request.
    const METHOD: Method;
    /// The path; names in braces are parameters.
    const PATH: &'static str;
    /// The query of the URL; `()` where the endpoint takes none.
    type Query: Serialize + DeserializeOwned + JsonSchema;
    /// The JSON body of the request; `()` where the endpoint takes none, an `Option` where it may be left
    /// out.
    type Body: Serialize + DeserializeOwned + JsonSchema;
    /// The JSON body of the response; `()` where there is none, or where it is not JSON.
    type View: Serialize + DeserializeOwned + JsonSchema;
}

/// An endpoint as the OpenAPI document describes it.
#[derive(Debug)]
pub struct Description {
    /// The type's name, such as `ListTasks`.
    pub name: &'static str,
    /// The resource that the endpoint belongs to.
    pub tag: &'static str,
    /// What the endpoint does, in a sentence.
    pub summary: &'static str,
    pub method: Method,
    pub path: &'static str,
    /// The statuses of success, with their meanings.
    pub successes: &'static [(u16, &'static str)],
    /// The media type of a response that is not JSON.
    pub media: Option<&'static str>,
    pub(crate) query: fn(&mut SchemaGenerator) -> Schema,
    pub(crate) body: fn(&mut SchemaGenerator) -> Schema,
    pub(crate) view: fn(&mut SchemaGenerator) -> Schema,
}

impl Description {
    /// Describes an endpoint.
    pub(crate) const fn of<E: Endpoint>(
        name: &'static str,
        tag: &'static str,
        summary: &'static str,
        successes: &'static [(u16, &'static str)],
        media: Option<&'static str>,
    ) -> Self {
        Self {
            name,
            tag,
            summary,
            method: E::METHOD,
            path: E::PATH,
            successes,
            media,
            query: |generator| generator.subschema_for::<E::Query>(),
            body: |generator| generator.subschema_for::<E::Body>(),
            view: |generator| generator.subschema_for::<E::View>(),
        }
    }
}

/// Declares endpoints, each as a type of its own, and lists them.
macro_rules! endpoints {
    ($(
        #[doc = $summary:literal]
        $name:ident: $tag:literal $method:ident $path:literal ($query:ty, $body:ty) => $view:ty
            $(as $media:literal)? $([$($status:literal $meaning:literal),+])?;
    )*) => {
        $(
            #[doc = $summary]
            #[derive(Debug, Clone, Copy)]
            pub struct $name;

            impl $crate::endpoint::Endpoint for $name {
                const METHOD: $crate::endpoint::Method = $crate::endpoint::Method::$method;
                const PATH: &'static str = $path;
                type Query = $query;
                type Body = $body;
                type View = $view;
            }
        )*

        /// Every endpoint, by resource.
        pub const ALL: &[$crate::endpoint::Description] = &[$(
            $crate::endpoint::Description::of::<$name>(
                stringify!($name),
                $tag,
                $summary,
                $crate::endpoint::endpoints!(@successes $($($status $meaning),+)?),
                $crate::endpoint::endpoints!(@media $($media)?),
            ),
        )*];
    };
    (@successes) => { &[(200, "the current state")] };
    (@successes $($status:literal $meaning:literal),+) => { &[$(($status, $meaning)),+] };
    (@media) => { None };
    (@media $media:literal) => { Some($media) };
}
pub(crate) use endpoints;
