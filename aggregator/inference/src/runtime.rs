//! The library, loaded once a process, and what it computes on. (step 11)
//!
//! In: a [`Found`] library and the device that is wished for. Out: sessions. Invariants: RT-1 `Auto` never fails for want
//! of a GPU, `Gpu` never computes on a CPU in silence. Limits: one library a process; asking for another is an error.
//! Source: ONNX Runtime, CUDA execution provider. Does not: read models (see [`crate::Model`]).

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep::CUDA;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use crate::{Error, Found};

/// What brings CUDA; it lies beside the library.
const CUDA_PROVIDER: &str = "libonnxruntime_providers_cuda.so";

/// What is wished for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// A GPU where library, driver and card are there, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU or an error.
    Gpu,
}

/// What is computed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// CUDA.
    Cuda,
    /// The CPU.
    Cpu,
}

impl Provider {
    /// For people and labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::Cpu => "cpu",
        }
    }
}

/// A loaded library and the provider that works. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
    library: PathBuf,
    provider: Provider,
    n_threads: usize,
    /// Why it is not the GPU, where one was looked for.
    without_gpu: Option<String>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("library", &self.library)
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}

/// The one environment of the process: the library allows no second.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

impl Runtime {
    /// Loads the library and finds out what works. `n_threads` a session on the CPU, at least 1.
    ///
    /// # Errors
    /// No library, one of an older version, a second one in this process; with [`Device::Gpu`] also what keeps the GPU
    /// from being used.
    pub fn start(found: &Found, device: Device, n_threads: usize) -> Result<Self, Error> {
        let mut runtime = Self {
            environment: environment(found)?,
            library: found.path.clone(),
            provider: Provider::Cpu,
            n_threads: n_threads.max(1),
            without_gpu: None,
        };
        if device == Device::Cpu {
            return Ok(runtime);
        }
        match runtime.try_cuda() {
            Ok(()) => runtime.provider = Provider::Cuda,
            Err(why) if device == Device::Gpu => return Err(Error::Gpu(why)),
            Err(why) => runtime.without_gpu = Some(why),
        }
        Ok(runtime)
    }

    /// What sessions compute on.
    #[must_use]
    pub const fn provider(&self) -> Provider {
        self.provider
    }

    /// Where the library lies.
    #[must_use]
    pub const fn library(&self) -> &PathBuf {
        &self.library
    }

    /// Why the GPU is not used, where one was looked for.
    #[must_use]
    pub fn without_gpu(&self) -> Option<&str> {
        self.without_gpu.as_deref()
    }

    /// The same library on the CPU, for comparison.
    #[must_use]
    pub fn on_cpu(&self) -> Self {
        Self {
            provider: Provider::Cpu,
            ..self.clone()
        }
    }

    /// A session over the bytes of a model.
    pub(crate) fn session(&self, model: &[u8]) -> Result<Session, String> {
        let builder = self.builder().map_err(|why| why.to_string())?;
        let mut builder = match self.provider {
            Provider::Cpu => builder,
            Provider::Cuda => with_cuda(builder)?,
        };
        builder
            .commit_from_memory(model)
            .map_err(|why| why.to_string())
    }

    /// A provider that cannot load falls back to the CPU without a word unless it is told to fail.
    fn try_cuda(&self) -> Result<(), String> {
        let beside = self.library.with_file_name(CUDA_PROVIDER);
        if !beside.is_file() {
            return Err(format!("there is no {CUDA_PROVIDER} beside the library"));
        }
        let builder = self.builder().map_err(|why| why.to_string())?;
        with_cuda(builder).map(|_| ())
    }

    fn builder(&self) -> Result<SessionBuilder, ort::Error> {
        let builder = Session::builder(&self.environment)?;
        Ok(builder
            .with_optimization_level(GraphOptimizationLevel::Level3)?
            .with_intra_threads(self.n_threads)?
            .with_inter_threads(1)?
            // Between two ticks nothing may burn a core.
            .with_intra_op_spinning(false)?
            .with_log_level(LogLevel::Warning)?)
    }
}

fn with_cuda(builder: SessionBuilder) -> Result<SessionBuilder, String> {
    builder
        .with_execution_providers([CUDA::default().build().error_on_failure()])
        .map_err(|why| why.to_string())
}

fn environment(found: &Found) -> Result<Environment, Error> {
    let refused = |why: String| Error::Library {
        path: found.path.display().to_string(),
        why,
    };
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((path, environment)) = &*loaded {
        if *path == found.path {
            return Ok(environment.clone());
        }
        return Err(refused(format!(
            "{} is loaded already, a process has one",
            path.display()
        )));
    }
    let builder = ort::init_from(&found.path).map_err(|why| refused(why.to_string()))?;
    let environment = builder
        .with_name("hypershardwatch")
        .with_telemetry(false)
        .with_logger(Arc::new(|level, _, _, place, message| {
            log(level, place, message)
        }))
        .build()
        .map_err(|why| refused(why.to_string()))?;
    environment.set_log_level(LogLevel::Warning);
    *loaded = Some((found.path.clone(), environment.clone()));
    Ok(environment)
}

fn log(level: LogLevel, place: &str, message: &str) {
    if level >= LogLevel::Warning {
        tracing::warn!(place, "ONNX Runtime: {message}");
    } else {
        tracing::trace!(place, "ONNX Runtime: {message}");
    }
}
