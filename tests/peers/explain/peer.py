"""A public Python port of DBSherlock on the same table: what `tests/bench explain` is compared with.

  peer.py CHECKOUT TABLE     TABLE is JSON: {"attributes", "values" row by row, "normal" rows, "abnormal" rows}

CHECKOUT is a folder of github.com/hyukkyukang/DBSherlock (GPL-3, measured at 75e40b7); nothing of it lies here. Needs `numpy`.
Its package of helpers, `hkkang_utils`, brings gigabytes of what the port does not use; the four helpers that it does use are
those of the standard library under their names.

Prints JSON: seconds of processor time to make the predicates of one case, to hold the case against one causal model, and the
predicates themselves, `attribute: [lower or null, upper or null]`.
"""
import abc, dataclasses, itertools, json, sys, time, types


def helpers():
    class SingletonABCMeta(abc.ABCMeta):
        made = {}

        def __call__(cls, *args, **kwargs):
            if cls not in cls.made:
                cls.made[cls] = super().__call__(*args, **kwargs)
            return cls.made[cls]

    parts = {
        'list': {'do_flatten_list': lambda lists: list(itertools.chain.from_iterable(lists))},
        'data': {'dataclass': dataclasses.dataclass, 'field': dataclasses.field},
        'pattern': {'SingletonABCMeta': SingletonABCMeta},
        'file': {},
    }
    package = types.ModuleType('hkkang_utils')
    package.__path__ = []
    sys.modules['hkkang_utils'] = package
    for name, members in parts.items():
        module = types.ModuleType('hkkang_utils.' + name)
        vars(module).update(members)
        setattr(package, name, module)
        sys.modules[module.__name__] = module


def main():
    checkout, table = sys.argv[1:3]
    helpers()
    sys.path.insert(0, checkout)
    from src.data.anomaly_data import AnomalyData
    from src.model.dbsherlock import DBSherlock

    with open(table) as f:
        table = json.load(f)
    # The port leaves out the first two attributes, which are the time and the latency of its data.
    data = AnomalyData(
        cause='x', attributes=['time', 'latency'] + table['attributes'],
        values=[[at, 1.0] + row for at, row in enumerate(table['values'])],
        normal_regions=table['normal'], abnormal_regions=table['abnormal'])
    port = DBSherlock(num_discrete=500, abnormal_multipler=10, normalized_difference_threshold=0.2)
    began = time.process_time()
    model = port.create_causal_model(data)
    model_s = time.process_time() - began
    began = time.process_time()
    confidence, _ = port.compute_confidence(model, data)
    fit_s = time.process_time() - began
    predicates = {}
    for name, own in model.predicates_dic.items():
        bounds = [None, None]
        for operator, operand in ((own.operator1, own.operand1), (own.operator2, own.operand2)):
            if operator is not None:
                bounds[operator == '<'] = operand
        predicates[name] = bounds
    print(json.dumps({'model_s': model_s, 'fit_s': fit_s, 'confidence': confidence / 100, 'predicates': predicates}))


if __name__ == '__main__':
    main()
