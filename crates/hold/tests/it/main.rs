//! The hold's behaviour: over HTTP through `TestHold`, and of each adapter behind its port.

mod object_store;
