# What needs no sampler: the search for oscillations of P(k), rotation, squeezed states, the FIRAS monopole.


if PLAN.look:

    rule search_features:
        input:
            manifest=MANIFEST,
            transfer=PLAN.transfer_manifest,
        output:
            search="<results>/features/look_elsewhere.json",
            curves="<results>/features/look_elsewhere.curves.json",
        log:
            "<logs>/search_features.log",
        benchmark:
            "<benchmarks>/search_features.jsonl"
        conda:
            ENVIRONMENT
        resources:
            gpu=GPU,
            mem_mb=2500,
        params:
            fit=SECTIONS.path("look_elsewhere.fit", PLAN.look_fit.describe()),
            uses=PLAN.uses(PLAN.look_fit),
            search=SECTIONS.path("look_elsewhere", PLAN.look),
            device=PLAN.device,
            seed=PLAN.seed,
            code=code("search_features", of_fits=True),
        shell:
            "python -m pipeline search_features --fit={params.fit:q} --search={params.search:q}"
            " --transfer={input.transfer:q} --device={params.device:q} --seed={params.seed:q}"
            " --output={output.search:q} --curves={output.curves:q} > {log:q} 2>&1"

    rule plot_features:
        input:
            search="<results>/features/look_elsewhere.json",
            curves="<results>/features/look_elsewhere.curves.json",
        output:
            **figure("look_elsewhere", "look_elsewhere", "Models", "look-elsewhere"),
        log:
            "<logs>/plot_features.log",
        priority: 10
        conda:
            ENVIRONMENT
        params:
            code=code("plot_features"),
        shell:
            "python -m pipeline plot_features --search={input.search:q} --curves={input.curves:q} --output={output.png:q}"
            " > {log:q} 2>&1"


if PLAN.rotation:

    rule fit_rotation:
        input:
            spectra=PLAN.own_spectra,
            leakage=PLAN.leakage,
            theory="<results>/theory/fiducial.txt",
        output:
            rotation="<results>/features/birefringence.json",
            curves="<results>/features/birefringence.curves.json",
        log:
            "<logs>/fit_rotation.log",
        benchmark:
            "<benchmarks>/fit_rotation.jsonl"
        conda:
            ENVIRONMENT
        params:
            pairs=PLAN.rotation["pairs"],
            calibration=PLAN.rotation["calibration_deg"],
            simulations=PLAN.rotation["simulations"],
            seed=PLAN.seed,
            code=code("fit_rotation"),
        shell:
            "python -m pipeline fit_rotation --spectra={input.spectra:q} --theory={input.theory:q} --pairs {params.pairs:q}"
            " --calibration-deg={params.calibration:q} --simulations={params.simulations:q} --seed={params.seed:q}"
            " --output={output.rotation:q} --curves={output.curves:q} > {log:q} 2>&1"

    rule plot_rotation:
        input:
            rotation="<results>/features/birefringence.json",
            curves="<results>/features/birefringence.curves.json",
        output:
            **figure(
                "birefringence", "birefringence", "Models", "rotation of polarisation"
            ),
        log:
            "<logs>/plot_rotation.log",
        priority: 10
        conda:
            ENVIRONMENT
        params:
            code=code("plot_rotation"),
        shell:
            "python -m pipeline plot_rotation --rotation={input.rotation:q} --curves={input.curves:q} --output={output.png:q}"
            " > {log:q} 2>&1"


if PLAN.quantum:

    rule simulate_states:
        output:
            "<results>/features/quantum_states.json",
        log:
            "<logs>/simulate_states.log",
        benchmark:
            "<benchmarks>/simulate_states.jsonl"
        conda:
            ENVIRONMENT
        params:
            squeezing=PLAN.quantum["squeezing"],
            levels=PLAN.quantum["levels"],
            code=code("simulate_states"),
        shell:
            "python -m pipeline simulate_states --squeezing={params.squeezing:q} --levels={params.levels:q} --output={output:q}"
            " > {log:q} 2>&1"

    rule plot_states:
        input:
            "<results>/features/quantum_states.json",
        output:
            **figure("quantum_states", "quantum_states", "Models", "squeezed states"),
        log:
            "<logs>/plot_states.log",
        priority: 10
        conda:
            ENVIRONMENT
        params:
            code=code("plot_states"),
        shell:
            "python -m pipeline plot_states --states={input:q} --output={output.png:q} > {log:q} 2>&1"


if PLAN.blackbody:

    rule fit_blackbody:
        output:
            **figure("firas", "firas", "Models", "FIRAS monopole"),
            record="<results>/features/blackbody.json",
        log:
            "<logs>/fit_blackbody.log",
        benchmark:
            "<benchmarks>/fit_blackbody.jsonl"
        conda:
            ENVIRONMENT
        params:
            amplitude_max=PLAN.blackbody["amplitude_max"],
            data=data_hash(FIRAS),
            code=code("fit_blackbody"),
        shell:
            "python -m pipeline fit_blackbody --amplitude-max={params.amplitude_max:q} --figure={output.png:q} --output={output.record:q}"
            " > {log:q} 2>&1"
