//! The tags of a VU's samples: those of its scenario, its group and `exec.vu.metrics.tags`, and
//! the sets made from them, remembered so that a usual sample costs one look-up.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use crate::load::metrics::{TagSet, tags::TagInterner};
use crate::load::options::{SystemTag, SystemTags};

/// Sets remembered per VU; a script that makes up tag values must not fill its memory.
const REMEMBERED_MAX: usize = 256;

/// Tags that a script gave with one call.
pub(crate) type OwnTags = Vec<(String, String)>;

/// What the system tags of one HTTP sample are made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HttpTags {
    pub(crate) method: Arc<str>,
    pub(crate) status: u16,
    pub(crate) proto: &'static str,
    pub(crate) tls_version: Option<&'static str>,
    pub(crate) expected: Option<bool>,
    pub(crate) error_code: u16,
    pub(crate) error: String,
    /// The server's, where `systemTags` asks for it.
    pub(crate) ip: Option<IpAddr>,
}

#[derive(Debug, Default)]
pub(crate) struct Tagging {
    /// Which tags of k6's own the run wants.
    system: Cell<SystemTags>,
    scenario: RefCell<TagSet>,
    /// `::a::b`, empty for the root group.
    group: RefCell<Rc<str>>,
    /// The group in which nothing of the script has entered one.
    outermost: RefCell<Rc<str>>,
    /// `exec.vu.metrics.tags`.
    vu: RefCell<BTreeMap<String, String>>,
    base: RefCell<Option<TagSet>>,
    http: RefCell<HashMap<HttpTags, TagSet>>,
    checks: RefCell<HashMap<Box<str>, TagSet>>,
}

impl Tagging {
    /// A new scenario: its tags, no group, no tags of the VU's own.
    pub(crate) fn begin(&self, scenario: TagSet, group: &str, system: SystemTags) {
        self.system.set(system);
        let scenario = if system.has(SystemTag::Scenario) {
            scenario
        } else {
            scenario.without("scenario")
        };
        *self.scenario.borrow_mut() = scenario;
        *self.outermost.borrow_mut() = group.into();
        *self.group.borrow_mut() = self.outermost();
        self.vu.borrow_mut().clear();
        self.forget();
    }

    pub(crate) fn group(&self) -> Rc<str> {
        self.group.borrow().clone()
    }

    pub(crate) fn outermost(&self) -> Rc<str> {
        self.outermost.borrow().clone()
    }

    pub(crate) fn set_group(&self, group: &str) {
        if *group != **self.group.borrow() {
            *self.group.borrow_mut() = group.into();
            self.forget();
        }
    }

    /// What `work` gives in another group: of an operation that began there.
    pub(crate) fn within<R>(&self, group: &Rc<str>, work: impl FnOnce() -> R) -> R {
        let now = self.group();
        if Rc::ptr_eq(&now, group) || now == *group {
            return work();
        }
        self.set_group(group);
        let result = work();
        self.set_group(&now);
        result
    }

    pub(crate) fn vu_tag(&self, name: &str) -> Option<String> {
        self.vu.borrow().get(name).cloned()
    }

    pub(crate) fn set_vu_tag(&self, name: String, value: Option<String>) {
        let mut tags = self.vu.borrow_mut();
        match value {
            Some(value) => tags.insert(name, value),
            None => tags.remove(&name),
        };
        drop(tags);
        self.forget();
    }

    /// Tags of every sample of the VU now.
    pub(crate) fn base(&self, interner: &RefCell<TagInterner>) -> TagSet {
        if let Some(base) = &*self.base.borrow() {
            return base.clone();
        }
        let group: Arc<str> = (&**self.group.borrow()).into();
        let vu = self.vu.borrow();
        let own = vu
            .iter()
            .map(|(name, value)| (Arc::from(name.as_str()), Arc::from(value.as_str())));
        let grouped = self.wants(SystemTag::Group);
        let group = grouped.then(|| (Arc::from("group"), group));
        let pairs: Vec<(Arc<str>, Arc<str>)> = group.into_iter().chain(own).collect();
        let base = self.scenario.borrow().with(pairs);
        let base = interner.borrow_mut().intern(base);
        *self.base.borrow_mut() = Some(base.clone());
        base
    }

    /// The base with a call's own tags.
    pub(crate) fn with(&self, interner: &RefCell<TagInterner>, own: &OwnTags) -> TagSet {
        let base = self.base(interner);
        if own.is_empty() {
            return base;
        }
        let set = base.with(own.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        interner.borrow_mut().intern(set)
    }

    pub(crate) fn check(
        &self,
        interner: &RefCell<TagInterner>,
        name: &str,
        own: &OwnTags,
    ) -> TagSet {
        if own.is_empty()
            && let Some(known) = self.checks.borrow().get(name)
        {
            return known.clone();
        }
        let mut set = self.with(interner, own);
        if self.wants(SystemTag::Check) {
            set = interner.borrow_mut().intern(set.with([("check", name)]));
        }
        if own.is_empty() {
            let mut checks = self.checks.borrow_mut();
            if checks.len() >= REMEMBERED_MAX {
                checks.clear();
            }
            checks.insert(name.into(), set.clone());
        }
        set
    }

    /// `own` without `name` and `url`, which travel beside the set.
    pub(crate) fn http(
        &self,
        interner: &RefCell<TagInterner>,
        system: HttpTags,
        own: &OwnTags,
    ) -> TagSet {
        if own.is_empty()
            && let Some(known) = self.http.borrow().get(&system)
        {
            return known.clone();
        }
        let mut pairs: Vec<(Arc<str>, Arc<str>)> = Vec::with_capacity(8 + own.len());
        let mut tag = |tag: SystemTag, name: &'static str, value: Option<Arc<str>>| {
            if let Some(value) = value.filter(|_| self.wants(tag)) {
                pairs.push((name.into(), value));
            }
        };
        let text = |value: String| Some(value.into());
        tag(SystemTag::Method, "method", Some(system.method.clone()));
        tag(SystemTag::Status, "status", text(system.status.to_string()));
        // Without an answer there is no protocol.
        let proto = (!system.proto.is_empty()).then(|| system.proto.into());
        tag(SystemTag::Proto, "proto", proto);
        let version = system.tls_version.map(Arc::from);
        tag(SystemTag::TlsVersion, "tls_version", version);
        let expected = system.expected.map(|expected| expected.to_string().into());
        tag(SystemTag::ExpectedResponse, "expected_response", expected);
        let failed = system.error_code != 0;
        let code = failed.then(|| system.error_code.to_string().into());
        tag(SystemTag::ErrorCode, "error_code", code);
        let error = (!system.error.is_empty()).then(|| system.error.as_str().into());
        tag(SystemTag::Error, "error", error);
        tag(
            SystemTag::Ip,
            "ip",
            system.ip.map(|ip| ip.to_string().into()),
        );
        pairs.extend(
            own.iter()
                .map(|(k, v)| (k.as_str().into(), v.as_str().into())),
        );
        let set = self.base(interner).with(pairs);
        let set = interner.borrow_mut().intern(set);
        if own.is_empty() {
            let mut known = self.http.borrow_mut();
            if known.len() >= REMEMBERED_MAX {
                known.clear();
            }
            known.insert(system, set.clone());
        }
        set
    }

    /// Whether the run wants this tag of k6's own.
    pub(crate) fn wants(&self, tag: SystemTag) -> bool {
        self.system.get().has(tag)
    }

    fn forget(&self) {
        *self.base.borrow_mut() = None;
        self.http.borrow_mut().clear();
        self.checks.borrow_mut().clear();
    }
}
